package contract

import (
	"net/url"
	"slices"
	"strings"
)

// place is a location in the document: the keys from the root.
type place []string

// pointer returns the place as a URL fragment (RFC 6901).
func (p place) pointer() string {
	var b strings.Builder
	for _, key := range p {
		b.WriteString("/" + url.PathEscape(strings.NewReplacer("~", "~0", "/", "~1").Replace(key)))
	}
	return b.String()
}

// at follows keys and references from a place, and reports whether it found anything.
func (c *Contract) at(from place, keys ...string) (place, bool) {
	here := c.resolve(from)
	for _, key := range keys {
		object, _ := c.value(here).(map[string]any)
		if _, ok := object[key]; !ok {
			return nil, false
		}
		here = c.resolve(append(slices.Clone(here), key))
	}
	return here, c.value(here) != nil
}

func (c *Contract) resolve(p place) place {
	for {
		object, _ := c.value(p).(map[string]any)
		ref, ok := object["$ref"].(string)
		if !ok {
			return p
		}
		p = strings.Split(strings.TrimPrefix(ref, "#/"), "/")
	}
}

func (c *Contract) value(p place) any {
	var here any = c.document
	for _, key := range p {
		object, ok := here.(map[string]any)
		if !ok {
			return nil
		}
		here = object[key]
	}
	return here
}

// keys returns the sorted keys of the object at a place.
func (c *Contract) keys(p place) []string {
	object, _ := c.value(c.resolve(p)).(map[string]any)
	var keys []string
	for key := range object {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// Operations returns all operations, such as "GET /v1/pods/{namespace}/…".
func (c *Contract) Operations() []string {
	var all []string
	for _, path := range c.keys(place{"paths"}) {
		for _, method := range c.keys(place{"paths", path}) {
			if method != "parameters" {
				all = append(all, strings.ToUpper(method)+" "+path)
			}
		}
	}
	return all
}
