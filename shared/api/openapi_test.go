package api_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/api/openapi"
)

// schema has the parts of a JSON schema that these tests read.
type schema struct {
	Ref                  string `json:"$ref"`
	Type                 string
	AdditionalProperties any
	Required             []string
	Properties           map[string]*schema
	Items                *schema
	Enum                 []any
	Const                any
	AllOf                []*schema
	MaxItems, MaxLength  int
}

type response struct {
	Ref     string `json:"$ref"`
	Headers map[string]any
	Content map[string]struct{ Schema *schema }
}

type operation struct {
	OperationID string
	Security    []map[string][]string
	RequestBody *struct {
		Content map[string]struct{ Schema *schema }
	}
	Responses map[string]response
}

type document struct {
	Paths      map[string]map[string]json.RawMessage
	Components struct {
		Schemas         map[string]*schema
		Responses       map[string]response
		SecuritySchemes map[string]any
	}
}

func readDocument(t *testing.T) (d document, operations map[string]operation) {
	t.Helper()
	if err := json.Unmarshal(openapi.Document, &d); err != nil {
		t.Fatal(err)
	}
	operations = make(map[string]operation)
	for path, item := range d.Paths {
		for method, text := range item {
			if method == "parameters" {
				continue
			}
			var o operation
			if err := json.Unmarshal(text, &o); err != nil {
				t.Fatalf("%s %s: %v", method, path, err)
			}
			operations[strings.ToUpper(method)+" "+path] = o
		}
	}
	if len(operations) < 20 {
		t.Fatalf("the document has only the operations %v", operations)
	}
	return d, operations
}

// types are all request and answer types.
var types = []any{
	api.Port{}, api.ClaimRequest{}, api.Claim{}, api.LoadBalancer{}, api.ClaimedPort{}, api.Fence{}, api.HealthCheck{},
	api.TargetGroupRequest{}, api.BoundRequest{}, api.RenewRequest{}, api.Milestones{}, api.RenewAnswer{}, api.CollisionRequest{}, api.ReleaseRequest{}, api.ReleaseAnswer{},
	api.ReasonRequest{}, api.PoolList{}, api.PoolView{}, api.LoadBalancerView{}, api.PortList{}, api.PortView{}, api.Problem{},
}

// Neither can change without the other.
func TestOpenAPIDocumentHasTheTypesOfThisPackage(t *testing.T) {
	d, _ := readDocument(t)
	known := make(map[string]bool)
	for _, v := range types {
		typ := reflect.TypeOf(v)
		known[typ.Name()] = true
		s := d.Components.Schemas[typ.Name()]
		if s == nil {
			t.Errorf("the document has no %s", typ.Name())
			continue
		}
		if s.AdditionalProperties != false {
			t.Errorf("%s allows undocumented fields", typ.Name())
		}
		var names, required []string
		for _, f := range reflect.VisibleFields(typ) {
			tag, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			if tag == "-" || f.Anonymous {
				continue
			}
			names = append(names, tag)
			if !strings.Contains(options, "omit") {
				required = append(required, tag)
			}
			if p := s.Properties[tag]; p != nil {
				if got, want := kindOf(p), kindOfGo(f.Type); got != want {
					t.Errorf("%s.%s is %s in the document and %s in Go", typ.Name(), tag, got, want)
				}
			}
		}
		slices.Sort(names)
		slices.Sort(required)
		if got := slices.Sorted(maps.Keys(s.Properties)); !slices.Equal(got, names) {
			t.Errorf("%s has the fields %q in the document and %q in Go", typ.Name(), got, names)
		}
		if slices.Sort(s.Required); !slices.Equal(s.Required, required) {
			t.Errorf("%s always has %q by the document and %q in Go", typ.Name(), s.Required, required)
		}
	}
	for name := range d.Components.Schemas {
		if !known[name] {
			t.Errorf("the document has %s, which is not a type of this package", name)
		}
	}
	if got := d.Components.Schemas["ClaimRequest"].Properties["ports"].MaxItems; got != api.MaxPorts {
		t.Errorf("the document allows %d ports", got)
	}
	if got := d.Components.Schemas["ReasonRequest"].Properties["reason"].MaxLength; got != api.MaxReason {
		t.Errorf("the document allows a reason of %d", got)
	}
}

func kindOf(s *schema) string {
	switch {
	case s.Ref != "":
		return s.Ref[strings.LastIndex(s.Ref, "/")+1:]
	case s.Type == "array":
		return "array of " + kindOf(s.Items)
	case s.Type == "" && s.Enum != nil:
		return "string"
	}
	return s.Type
}

func kindOfGo(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "string"
	case reflect.Int:
		return "integer"
	case reflect.Float64:
		return "number"
	case reflect.Bool:
		return "boolean"
	case reflect.Slice:
		return "array of " + kindOfGo(t.Elem())
	case reflect.Map:
		return "object"
	case reflect.Struct:
		if t.String() == "time.Time" {
			return "string"
		}
		return t.Name()
	default:
		return t.String()
	}
}

// Every code occurs in at least one answer.
func TestOpenAPIDocumentHasEveryCodeWithItsStatus(t *testing.T) {
	d, operations := readDocument(t)
	var declared []string
	for _, code := range codes(t) {
		declared = append(declared, string(code))
	}
	slices.Sort(declared)
	var listed []string
	for _, code := range d.Components.Schemas["Problem"].Properties["code"].Enum {
		listed = append(listed, code.(string))
	}
	slices.Sort(listed)
	if !slices.Equal(declared, listed) {
		t.Errorf("the document has the codes %q, this package %q", listed, declared)
	}
	answered := make(map[string]bool)
	for name, r := range d.Components.Responses {
		rest := r.Content[api.ProblemType].Schema.AllOf[1].Properties
		each := rest["code"].Enum
		if rest["code"].Const != nil {
			each = []any{rest["code"].Const}
		}
		waits := false
		for _, code := range each {
			c := api.Code(code.(string))
			answered[string(c)] = true
			if float64(c.Status()) != rest["status"].Const || http.StatusText(c.Status()) != rest["title"].Const {
				t.Errorf("%s answers %s with %v %v, which has %d", name, c, rest["status"].Const, rest["title"].Const, c.Status())
			}
			waits = waits || c.Status() == 503 || c.Status() == 429 || c == api.Quota
		}
		if _, later := r.Headers["Retry-After"]; later != waits {
			t.Errorf("%s answers %v, and Retry-After: %v", name, each, later)
		}
	}
	for _, code := range declared {
		if !answered[code] {
			t.Errorf("no answer of the document has code %s", code)
		}
	}
	for call, o := range operations {
		for status, r := range o.Responses {
			name := r.Ref[strings.LastIndex(r.Ref, "/")+1:]
			if name == "" {
				continue
			}
			want := d.Components.Responses[name].Content[api.ProblemType].Schema.AllOf[1].Properties["status"].Const
			if text, err := json.Marshal(want); err != nil || string(text) != status {
				t.Errorf("%s refers to %s for status %s", call, name, status)
			}
		}
	}
}

// Every call must also be able to answer that the token is missing.
func TestOpenAPIDocumentNamesTheTokenOfEveryCall(t *testing.T) {
	d, operations := readDocument(t)
	for call, o := range operations {
		_, path, _ := strings.Cut(call, " ")
		if !strings.HasPrefix(path, "/v1/") {
			if o.Security == nil || len(o.Security) > 0 {
				t.Errorf("%s needs a token: %v", call, o.Security)
			}
			continue
		}
		pods := strings.HasPrefix(path, "/v1/pods/") && !strings.HasPrefix(call, "GET")
		want := map[bool]string{true: "podToken", false: "adminToken"}[pods]
		if len(o.Security) != 1 || o.Security[0][want] == nil || d.Components.SecuritySchemes[want] == nil {
			t.Errorf("%s accepts the token %v, want %s", call, o.Security, want)
		}
		for _, status := range []string{"401", "403", "429", "500", "503"} {
			if _, ok := o.Responses[status]; !ok {
				t.Errorf("%s cannot be answered %s", call, status)
			}
		}
		if _, ok := o.Responses["413"]; ok != (o.RequestBody != nil) {
			t.Errorf("%s: a body %v, too large %v", call, o.RequestBody != nil, ok)
		}
	}
}
