package elbemu

import (
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits of one request, far above what a real client sends.
const (
	maxBody       = 1 << 20
	maxParameters = 10000
	maxDepth      = 12
)

// node is one level of a parameter name: Tags.member.1.Key is four nodes.
type node struct {
	path     string
	value    string
	given    bool // it has a value of its own
	read     bool
	children map[string]*node
}

// form parses the parameters of one call of the AWS query protocol. The first error fails
// the whole call. A parameter that no decoder reads is also an error.
type form struct {
	root *node
	fail *APIError
}

func parseForm(values url.Values) *form {
	f := &form{root: &node{children: map[string]*node{}}}
	if len(values) > maxParameters {
		f.refuse(refuse(codeInvalidQuery, "%d parameters exceed the limit of %d", len(values), maxParameters))
		return f
	}
	for name, given := range values {
		if len(given) != 1 {
			f.refuse(refuse(codeInvalidQuery, "parameter %q is given %d times", name, len(given)))
			continue
		}
		f.add(name, given[0])
	}
	return f
}

func (f *form) add(name, value string) {
	parts := strings.Split(name, ".")
	if len(parts) > maxDepth {
		f.refuse(refuse(codeInvalidQuery, "parameter %.80q is nested deeper than %d levels", name, maxDepth))
		return
	}
	if !utf8.ValidString(name) || !utf8.ValidString(value) {
		f.refuse(refuse(codeInvalidQuery, "parameter %.80q is not UTF-8", name))
		return
	}
	at := f.root
	for i, part := range parts {
		next, ok := at.children[part]
		if !ok {
			next = &node{path: strings.Join(parts[:i+1], "."), children: map[string]*node{}}
			at.children[part] = next
		}
		at = next
	}
	at.value, at.given = value, true
}

func (f *form) refuse(err *APIError) {
	if f.fail == nil {
		f.fail = err
	}
}

// done returns the first error, or an error for the first unread parameter.
func (f *form) done() *APIError {
	if f.fail != nil {
		return f.fail
	}
	if path := unread(f.root); path != "" {
		return refuse(codeInvalidQuery, "parameter %q is unknown or not emulated here", path)
	}
	return nil
}

func unread(n *node) string {
	if n.given && !n.read {
		return n.path
	}
	names := make([]string, 0, len(n.children))
	for name := range n.children {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if path := unread(n.children[name]); path != "" {
			return path
		}
	}
	return ""
}

// fields are the parameters at one level: those of the call, or of one list member.
type fields struct {
	f  *form
	at *node
}

func (f *form) fields() fields { return fields{f: f, at: f.root} }

func (p fields) path(name string) string {
	if p.at.path == "" {
		return name
	}
	return p.at.path + "." + name
}

// text returns an optional parameter; ok is false if it is absent.
func (p fields) text(name string) (value string, ok bool) {
	n := p.at.children[name]
	if n == nil || !n.given {
		return "", false
	}
	n.read = true
	return n.value, true
}

func (p fields) optional(name string) string {
	value, _ := p.text(name)
	return value
}

func (p fields) required(name string) string {
	value, ok := p.text(name)
	if !ok || value == "" {
		p.f.refuse(invalid("1 validation error detected: Value null at '%s' failed to satisfy constraint: Member must not be null", p.path(name)))
	}
	return value
}

// number returns an optional integer, or nil if it is absent.
func (p fields) number(name string, low, high int) *int {
	value, ok := p.text(name)
	if !ok {
		return nil
	}
	n, err := strconv.Atoi(value)
	switch {
	case err != nil:
		p.f.refuse(invalid("parameter '%s' must be an integer, not '%s'", p.path(name), value))
	case n < low:
		p.f.refuse(invalid("1 validation error detected: Value '%d' at '%s' failed to satisfy constraint: Member must have value greater than or equal to %d", n, p.path(name), low))
	case n > high:
		p.f.refuse(invalid("1 validation error detected: Value '%d' at '%s' failed to satisfy constraint: Member must have value less than or equal to %d", n, p.path(name), high))
	default:
		return &n
	}
	return nil
}

// flag returns an optional boolean, or nil if it is absent.
func (p fields) flag(name string) *bool {
	value, ok := p.text(name)
	if !ok {
		return nil
	}
	switch value {
	case "true", "false":
		set := value == "true"
		return &set
	}
	p.f.refuse(invalid("parameter '%s' must be true or false, not '%s'", p.path(name), value))
	return nil
}

// oneOf returns an optional value of an enumeration, or an empty string if it is absent.
func (p fields) oneOf(name string, allowed ...string) string {
	value, ok := p.text(name)
	if ok && !slices.Contains(allowed, value) {
		p.f.refuse(invalid("1 validation error detected: Value '%s' at '%s' failed to satisfy constraint: Member must satisfy enum value set: [%s]", value, p.path(name), strings.Join(allowed, ", ")))
	}
	return value
}

func (p fields) structure(name string) (fields, bool) {
	n, ok := p.at.children[name]
	if !ok {
		return fields{}, false
	}
	return fields{f: p.f, at: n}, true
}

var memberIndex = regexp.MustCompile(`^[1-9][0-9]{0,4}$`)

// members returns the members of a list in order. Clients send an empty list as the bare
// name with an empty value.
func (p fields) members(name string) []fields {
	list, ok := p.at.children[name]
	if !ok {
		return nil
	}
	if list.given {
		list.read = list.value == ""
	}
	wrapper, ok := list.children["member"]
	if !ok {
		return nil
	}
	found := make([]fields, len(wrapper.children))
	for index, n := range wrapper.children {
		i, err := strconv.Atoi(index)
		if err != nil || !memberIndex.MatchString(index) || i > len(found) {
			p.f.refuse(refuse(codeInvalidQuery, "list '%s' must be numbered from 1 without gaps; member '%.20s' is out of order", p.path(name), index))
			return nil
		}
		found[i-1] = fields{f: p.f, at: n}
	}
	return found
}

// texts returns a list of plain values.
func (p fields) texts(name string) []string {
	var values []string
	for _, m := range p.members(name) {
		m.at.read = m.at.given
		if !m.at.given || m.at.value == "" {
			p.f.refuse(invalid("'%s' must have a value", m.at.path))
		}
		values = append(values, m.at.value)
	}
	return values
}
