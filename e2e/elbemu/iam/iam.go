// Package iam decides what an identity-based IAM policy allows.
//
// It implements AWS's policy evaluation within one account, for identity-based policies
// only. An explicit Deny wins, then an Allow; everything else is denied. A parsed policy
// never changes.
//
// Parse refuses unknown elements, operators, condition keys and variables by name. Ignored
// here, they might still matter on AWS. The elbemu README names the source of every rule.
package iam

import (
	"slices"
	"strings"
)

// Policy is one policy document. The zero value allows nothing.
type Policy struct{ statements []statement }

type statement struct {
	sid        string
	deny       bool
	actions    []pattern
	resources  []pattern
	conditions []condition
}

// Request is one permission that a call needs.
type Request struct {
	// Action has the form service:Name.
	Action string
	// Resource is an ARN, or "*" for an action without resources. Only a statement on "*"
	// matches the latter.
	Resource string
	Keys     Keys
}

// Keys are the condition keys of a request. An absent key differs from an empty one.
type Keys map[string][]string

// Set sets the values of a key. Key names ignore case, including the tag keys in them.
func (k Keys) Set(name string, values ...string) { k[strings.ToLower(name)] = values }

// Verdict is the decision on a request.
type Verdict int

// Verdicts.
const (
	// NotAllowed means that no statement matches.
	NotAllowed Verdict = iota
	Allowed
	// Denied means that a Deny statement matches.
	Denied
)

// Use is an action of a statement that decided a request.
type Use struct {
	Sid    string
	Action string // as written in the statement
}

// Decide evaluates one request and returns what allowed or denied it.
func (p Policy) Decide(r Request) (Verdict, []Use) {
	verdict := NotAllowed
	var uses []Use
	for _, s := range p.statements {
		action, applies := s.applies(r)
		switch {
		case !applies:
		case s.deny:
			return Denied, []Use{{s.sid, action}}
		default:
			verdict = Allowed
			uses = append(uses, Use{s.sid, action})
		}
	}
	return verdict, uses
}

// Uses returns all actions of all statements, in order.
func (p Policy) Uses() []Use {
	var all []Use
	for _, s := range p.statements {
		for _, a := range s.actions {
			all = append(all, Use{s.sid, a.text})
		}
	}
	return all
}

// applies returns the action of the statement that matches. A statement does not apply at
// all if the request lacks a value for one of its variables.
func (s statement) applies(r Request) (action string, applies bool) {
	i := slices.IndexFunc(s.actions, func(a pattern) bool { return a.matches(strings.ToLower(r.Action), nil) == yes })
	if i < 0 {
		return "", false
	}
	if !slices.ContainsFunc(s.resources, func(p pattern) bool { return p.matches(r.Resource, r.Keys) == yes }) {
		return "", false
	}
	for _, c := range s.conditions {
		if c.holds(r.Keys) != yes {
			return "", false
		}
	}
	return s.actions[i].text, true
}

// answer is yes, no, or unknown because a variable has no value.
type answer int

const (
	no answer = iota
	yes
	unresolved
)

func when(b bool) answer {
	if b {
		return yes
	}
	return no
}
