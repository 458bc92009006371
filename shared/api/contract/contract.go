// Package contract checks the answers of the allocator against its OpenAPI document. The
// operation must be documented, and status, headers, media type and body must match. The
// document's objects allow no undocumented fields, so it cannot fall behind the Go types.
package contract

import (
	"bytes"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/portlease/portlease/shared/api/openapi"
)

// address is a base URL for references; nothing is read from it.
const address = "https://portlease.test/openapi.json"

// Contract is the document to check against. It is safe for concurrent use.
type Contract struct {
	document map[string]any

	mu       sync.Mutex // guards all below
	compiler *jsonschema.Compiler
}

// New parses the document that the allocator serves.
func New() (*Contract, error) {
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(openapi.Document))
	if err != nil {
		return nil, fmt.Errorf("reading the OpenAPI document: %w", err)
	}
	document, ok := parsed.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("reading the OpenAPI document: it is a %T", parsed)
	}
	c := &Contract{document: document, compiler: jsonschema.NewCompiler()}
	c.compiler.DefaultDraft(jsonschema.Draft2020)
	c.compiler.AssertFormat()
	if err := c.compiler.AddResource(address, parsed); err != nil {
		return nil, fmt.Errorf("reading the OpenAPI document: %w", err)
	}
	return c, nil
}

// Exchange is one request and its answer. Sent is the request body; if it is nil, the
// request is not checked.
type Exchange struct {
	Method string
	URL    *url.URL
	Sent   []byte
	Status int
	Header http.Header
	Body   []byte
}

// Check returns an error if an exchange violates the document. It checks the request only
// if it succeeded, because a refused request may be anything.
func (c *Contract) Check(x Exchange) error {
	responses, operation := c.find(x.Method, x.URL)
	complain := func(err error) error {
		return fmt.Errorf("%s %s was answered %d %q, which violates the OpenAPI document: %w", x.Method, x.URL.Path, x.Status, x.Body, err)
	}
	response, ok := c.at(responses, strconv.Itoa(x.Status))
	if !ok {
		return complain(fmt.Errorf("no such status is documented"))
	}
	if err := c.checkHeader(response, x.Header); err != nil {
		return complain(err)
	}
	if err := c.checkBody(response, x.Header, x.Body); err != nil {
		return complain(err)
	}
	if x.Sent == nil || x.Status >= http.StatusMultipleChoices || operation == nil {
		return nil
	}
	body, ok := c.at(operation, "requestBody", "content", "application/json", "schema")
	if !ok {
		if len(x.Sent) > 0 {
			return complain(fmt.Errorf("no request body is documented, and %q was sent", x.Sent))
		}
		return nil
	}
	if err := c.validate(body, x.Sent); err != nil {
		return complain(fmt.Errorf("the request body %q was accepted: %w", x.Sent, err))
	}
	return nil
}

// find returns the responses of a call and its operation, which is nil for a call that is
// not documented.
func (c *Contract) find(method string, u *url.URL) (responses, operation place) {
	path, ok := c.path(u.EscapedPath())
	if !ok {
		return place{"x-any-other-path"}, nil
	}
	operation, ok = c.at(path, strings.ToLower(method))
	if !ok || !slices.Contains(methods, method) {
		return place{"x-any-other-method"}, nil
	}
	return append(slices.Clone(operation), "responses"), operation
}

// methods are the methods that a path can have in a document. Method names are
// case-sensitive in HTTP, and a path has other keys as well.
var methods = []string{http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete, http.MethodPatch, http.MethodHead, http.MethodOptions, http.MethodTrace}

// path finds the template of a path. A literal segment is preferred to a parameter.
func (c *Contract) path(escaped string) (place, bool) {
	best, literals := "", -1
	for _, template := range c.keys(place{"paths"}) {
		if n, ok := fits(template, escaped); ok && n > literals {
			best, literals = template, n
		}
	}
	return place{"paths", best}, literals >= 0
}

// fits reports whether a path matches a template, and with how many literal segments. An
// empty segment matches no parameter.
func fits(template, path string) (literals int, ok bool) {
	want, got := strings.Split(template, "/"), strings.Split(path, "/")
	if len(want) != len(got) {
		return 0, false
	}
	for i := range want {
		switch {
		case want[i] == got[i]:
			literals++
		case strings.HasPrefix(want[i], "{") && got[i] != "":
		default:
			return 0, false
		}
	}
	return literals, true
}

// plumbing are headers that do not belong to the API itself.
var plumbing = []string{"Cache-Control", "Connection", "Content-Length", "Content-Type", "Date", "Transfer-Encoding", "X-Content-Type-Options"}

func (c *Contract) checkHeader(response place, header http.Header) error {
	documented := c.keys(append(slices.Clone(response), "headers"))
	known := slices.Clone(plumbing)
	for _, name := range documented {
		known = append(known, http.CanonicalHeaderKey(name))
		field, _ := c.at(response, "headers", name)
		required, _ := c.value(append(slices.Clone(field), "required")).(bool)
		values := header.Values(name)
		if len(values) == 0 && required || len(values) > 1 {
			return fmt.Errorf("header %s occurs %d times", name, len(values))
		}
		if len(values) == 0 {
			continue
		}
		schema, ok := c.at(field, "schema")
		if !ok {
			return fmt.Errorf("header %s has no schema", name)
		}
		text := []byte(values[0])
		if c.value(append(slices.Clone(schema), "type")) != "integer" {
			text = []byte(strconv.Quote(values[0]))
		}
		if err := c.validate(schema, text); err != nil {
			return fmt.Errorf("header %s: %w", name, err)
		}
	}
	for name := range header {
		if !slices.Contains(known, http.CanonicalHeaderKey(name)) {
			return fmt.Errorf("header %s is not documented", name)
		}
	}
	return nil
}

func (c *Contract) checkBody(response place, header http.Header, body []byte) error {
	content, ok := c.at(response, "content")
	if !ok {
		if len(body) > 0 || header.Get("Content-Type") != "" {
			return fmt.Errorf("no body is documented, and the media type is %q", header.Get("Content-Type"))
		}
		return nil
	}
	media, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil {
		return fmt.Errorf("media type %q: %w", header.Get("Content-Type"), err)
	}
	schema, ok := c.at(content, media, "schema")
	if !ok {
		return fmt.Errorf("media type %s is not documented", media)
	}
	if strings.HasPrefix(media, "text/") {
		return nil
	}
	return c.validate(schema, body)
}

func (c *Contract) validate(schema place, text []byte) error {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	c.mu.Lock()
	compiled, err := c.compiler.Compile(address + "#" + schema.pointer())
	c.mu.Unlock()
	if err != nil {
		return fmt.Errorf("the document's own schema: %w", err)
	}
	return compiled.Validate(value)
}
