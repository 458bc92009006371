package iam

import (
	"fmt"
	"regexp"
	"strings"
)

// pattern is a string with wildcards and variables.
type pattern struct {
	text  string // as written
	parts []part
}

// part is one character, a wildcard or a variable.
type part struct {
	kind     partKind
	literal  rune
	variable string // lower case
	fallback string
	falls    bool // there is a fallback value
}

type partKind int

const (
	literal partKind = iota
	any1             // ?
	any0             // *
	variable
)

var variablePattern = regexp.MustCompile(`^\$\{([^{}']*?)(?:\s*,\s*'([^']*)')?\}`)

// parsePattern parses a text. If wildcards are allowed, * and ? are wildcards.
func parsePattern(text string, wildcards bool) (pattern, error) {
	p := pattern{text: text}
	for rest := text; rest != ""; {
		if strings.HasPrefix(rest, "${") {
			one, length, err := parseVariable(rest)
			if err != nil {
				return p, err
			}
			p.parts, rest = append(p.parts, one), rest[length:]
			continue
		}
		for _, r := range rest {
			kind := literal
			switch {
			case r == '*' && wildcards:
				kind = any0
			case r == '?' && wildcards:
				kind = any1
			}
			p.parts, rest = append(p.parts, part{kind: kind, literal: r}), rest[len(string(r)):]
			break
		}
	}
	return p, nil
}

// parseVariable parses a variable that begins with "${" and returns its length.
func parseVariable(text string) (part, int, error) {
	m := variablePattern.FindStringSubmatch(text)
	if m == nil {
		return part{}, 0, fmt.Errorf("%q is no variable: write ${key} or ${key, 'default'}", text)
	}
	switch m[1] {
	case "*", "?", "$": // escapes for these three characters
		return part{kind: literal, literal: rune(m[1][0])}, len(m[0]), nil
	}
	key, many, ok := knownKey(m[1])
	if !ok || many {
		return part{}, 0, fmt.Errorf("variable ${%s} is not one that this evaluator has a value for", m[1])
	}
	return part{kind: variable, variable: key, fallback: m[2], falls: strings.Contains(m[0], "'")}, len(m[0]), nil
}

// matches compares the whole text. The value of a variable contains no wildcards.
func (p pattern) matches(text string, keys Keys) answer {
	var parts []part
	for _, one := range p.parts {
		if one.kind != variable {
			parts = append(parts, one)
			continue
		}
		value, ok := one.value(keys)
		if !ok {
			return unresolved
		}
		for _, r := range value {
			parts = append(parts, part{literal: r})
		}
	}
	return when(glob(parts, []rune(text)))
}

func (p part) value(keys Keys) (string, bool) {
	values := keys[p.variable]
	if len(values) == 1 {
		return values[0], true
	}
	return p.fallback, p.falls
}

// glob backtracks to the last * only, which is enough to match whole texts.
func glob(parts []part, text []rune) bool {
	i, t := 0, 0
	star, resume := -1, 0
	for t < len(text) {
		switch {
		case i < len(parts) && parts[i].kind == any0:
			star, resume = i, t
			i++
		case i < len(parts) && (parts[i].kind == any1 || parts[i].kind == literal && parts[i].literal == text[t]):
			i++
			t++
		case star >= 0:
			resume++
			i, t = star+1, resume
		default:
			return false
		}
	}
	for i < len(parts) && parts[i].kind == any0 {
		i++
	}
	return i == len(parts)
}
