package iam

import (
	"fmt"
	"slices"
	"strings"
)

// condition is one operator with one key and its values.
type condition struct {
	set      quantifier
	test     string // a key of tests, or Null
	negated  bool
	ifExists bool
	key      string // lower case
	values   []pattern
}

// quantifier says how a condition treats a key with several values.
type quantifier int

const (
	single quantifier = iota
	forAll
	forAny
)

// tests are the operators without prefix and suffix: whether values may have wildcards,
// and whether the operator is negated.
var tests = map[string]struct{ wildcards, negated bool }{
	"StringEquals":    {},
	"StringNotEquals": {negated: true},
	"StringLike":      {wildcards: true},
	"StringNotLike":   {wildcards: true, negated: true},
	"Bool":            {},
}

// keys are the supported condition keys. Keys that end in a slash are followed by a tag
// key. The value is true for keys with several values.
var keys = map[string]bool{
	"aws:principaltag/":                     false,
	"aws:requesttag/":                       false,
	"aws:resourcetag/":                      false,
	"aws:securetransport":                   false,
	"aws:sourcevpc":                         false,
	"aws:tagkeys":                           true,
	"elasticloadbalancing:createaction":     false,
	"elasticloadbalancing:listenerprotocol": true,
	"elasticloadbalancing:resourcetag/":     false,
}

func knownKey(name string) (key string, many, ok bool) {
	key = strings.ToLower(name)
	if before, tag, found := strings.Cut(key, "/"); found {
		many, ok = keys[before+"/"]
		return key, many, ok && tag != ""
	}
	many, ok = keys[key]
	return key, many, ok
}

func parseCondition(operator, name string, values []string) (condition, error) {
	c := condition{test: operator}
	if rest, found := strings.CutPrefix(c.test, "ForAllValues:"); found {
		c.set, c.test = forAll, rest
	} else if rest, found := strings.CutPrefix(c.test, "ForAnyValue:"); found {
		c.set, c.test = forAny, rest
	}
	c.test, c.ifExists = strings.CutSuffix(c.test, "IfExists")
	test, known := tests[c.test]
	if null := c.test == "Null" && c.set == single && !c.ifExists; !known && !null {
		return c, fmt.Errorf("condition operator %q is not known here", operator)
	}
	c.negated = test.negated
	var many bool
	if c.key, many, known = knownKey(name); !known {
		return c, fmt.Errorf("condition key %q is not one that a request here can have", name)
	}
	if many && c.set == single && c.test != "Null" {
		return c, fmt.Errorf("condition key %q has many values: put ForAllValues: or ForAnyValue: before %s", name, operator)
	}
	if len(values) == 0 {
		return c, fmt.Errorf("condition %s on %s has no value", operator, name)
	}
	for _, v := range values {
		if (c.test == "Bool" || c.test == "Null") && v != "true" && v != "false" {
			return c, fmt.Errorf("condition %s on %s is %q: use true or false", operator, name, v)
		}
		p, err := parsePattern(v, test.wildcards)
		if err != nil {
			return c, err
		}
		c.values = append(c.values, p)
	}
	return c, nil
}

// holds evaluates the condition for a request with these keys.
func (c condition) holds(keys Keys) answer {
	given, present := keys[c.key]
	present = present && len(given) > 0
	if c.test == "Null" {
		return when(slices.ContainsFunc(c.values, func(v pattern) bool { return (v.text == "true") != present }))
	}
	for _, v := range c.values {
		if v.matches("", keys) == unresolved {
			return unresolved
		}
	}
	passes := func(value string) bool {
		return slices.ContainsFunc(c.values, func(v pattern) bool { return v.matches(value, keys) == yes }) != c.negated
	}
	switch {
	case !present && c.ifExists:
		return yes
	case c.set == forAll: // true if there are no values
		return when(!slices.ContainsFunc(given, func(v string) bool { return !passes(v) }))
	case c.set == forAny:
		return when(slices.ContainsFunc(given, passes))
	case !present:
		return when(c.negated)
	}
	return when(passes(given[0]))
}
