package iam

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// version is the only version of the policy language that supports variables.
const version = "2012-10-17"

type document struct {
	Version   string
	ID        string `json:"Id"`
	Statement list[written]
}

type written struct {
	Sid, Effect      string
	Action, Resource list[string]
	Condition        map[string]map[string]list[scalar]
}

// list is one value, or an array of values.
type list[T any] []T

func (l *list[T]) UnmarshalJSON(text []byte) error {
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("[")) {
		return strict(text, (*[]T)(l))
	}
	*l = make([]T, 1)
	return strict(text, &(*l)[0])
}

// scalar is a string, or true or false without quotation marks.
type scalar string

func (s *scalar) UnmarshalJSON(text []byte) error {
	if bare := string(text); bare == "true" || bare == "false" {
		*s = scalar(bare)
		return nil
	}
	return json.Unmarshal(text, (*string)(s))
}

func strict(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

var placeholder = regexp.MustCompile(`<[a-z][a-z-]*>`)

// Parse parses a whole policy document or returns an error.
func Parse(text []byte) (Policy, error) {
	var p Policy
	if found := placeholder.Find(text); found != nil {
		return p, fmt.Errorf("placeholder %s is not filled in", found)
	}
	if err := noNameTwice(json.NewDecoder(bytes.NewReader(text))); err != nil {
		return p, err
	}
	var d document
	if err := strict(text, &d); err != nil {
		return p, fmt.Errorf("reading the policy: %w", err)
	}
	if d.Version != version {
		return p, fmt.Errorf("version %q must be %q", d.Version, version)
	}
	if len(d.Statement) == 0 {
		return p, errors.New("the policy has no statement")
	}
	sids := make(map[string]bool)
	for i, w := range d.Statement {
		s, err := w.parse()
		if err != nil {
			return p, fmt.Errorf("statement %d %q: %w", i+1, w.Sid, err)
		}
		if w.Sid != "" && sids[w.Sid] {
			return p, fmt.Errorf("statement %d: there is another %q", i+1, w.Sid)
		}
		sids[w.Sid] = true
		p.statements = append(p.statements, s)
	}
	return p, nil
}

var (
	sidPattern    = regexp.MustCompile(`^[A-Za-z0-9]*$`)
	actionPattern = regexp.MustCompile(`^(\*|[a-z0-9-]+:[A-Za-z0-9*?]+)$`)
	// resourcePattern matches "*", or an ARN with all its parts; parts may have wildcards.
	resourcePattern = regexp.MustCompile(`^(\*|arn:[a-z*?-]+:[a-z0-9*?-]+:[a-z0-9*?-]*:([0-9]{12}|\*?):.+)$`)
)

func (w written) parse() (statement, error) {
	s := statement{sid: w.Sid, deny: w.Effect == "Deny"}
	switch {
	case !sidPattern.MatchString(w.Sid):
		return s, errors.New("its Sid must be of letters and digits")
	case w.Effect != "Allow" && w.Effect != "Deny":
		return s, fmt.Errorf("its Effect %q must be Allow or Deny", w.Effect)
	case len(w.Action) == 0 || len(w.Resource) == 0:
		return s, errors.New("it needs Action and Resource")
	}
	for _, a := range w.Action {
		if !actionPattern.MatchString(a) {
			return s, fmt.Errorf("action %q must be of the form service:Name", a)
		}
		p, err := parsePattern(strings.ToLower(a), true)
		if err != nil {
			return s, err
		}
		p.text = a
		s.actions = append(s.actions, p)
	}
	for _, r := range w.Resource {
		if !resourcePattern.MatchString(r) {
			return s, fmt.Errorf("resource %q must be an ARN or *", r)
		}
		p, err := parsePattern(r, true)
		if err != nil {
			return s, err
		}
		s.resources = append(s.resources, p)
	}
	for _, operator := range slices.Sorted(maps.Keys(w.Condition)) {
		for _, key := range slices.Sorted(maps.Keys(w.Condition[operator])) {
			var values []string
			for _, v := range w.Condition[operator][key] {
				values = append(values, string(v))
			}
			c, err := parseCondition(operator, key, values)
			if err != nil {
				return s, err
			}
			s.conditions = append(s.conditions, c)
		}
	}
	return s, nil
}

// noNameTwice refuses an object with a duplicate name. Package json would silently take
// the last one.
func noNameTwice(d *json.Decoder) error {
	if err := values(d); err != nil {
		return fmt.Errorf("reading the policy: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("reading the policy: something follows the document")
	}
	return nil
}

func values(d *json.Decoder) error {
	token, err := d.Token()
	if err != nil {
		return err
	}
	open, _ := token.(json.Delim)
	if open != '{' && open != '[' {
		return nil
	}
	names := make(map[string]bool)
	for d.More() {
		if open == '{' {
			name, err := d.Token()
			if err != nil {
				return err
			}
			text, _ := name.(string)
			same := strings.ToLower(text) // package json treats these as equal
			if names[same] {
				return fmt.Errorf("%q is there twice", text)
			}
			names[same] = true
		}
		if err := values(d); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}
