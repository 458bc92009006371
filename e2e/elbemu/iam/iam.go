// Package iam decides what an identity-based IAM policy allows.
//
// It is pure: a policy is read once and then answers requests, as the policy
// evaluation of AWS does within one account without any other kind of policy. An
// explicit Deny wins, then an Allow, and what neither speaks of is denied.
//
// What it does not know it refuses when the policy is read, by name: an element,
// operator, condition key or variable that would be ignored here might decide on
// AWS. The elbemu README says of every rule where it comes from.
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
	// Action is of the form service:Name.
	Action string
	// Resource is an ARN, or "*" for an action that knows no resources: then only
	// a statement about "*" matches.
	Resource string
	Keys     Keys
}

// Keys are the condition keys of a request. One that the request does not have is
// absent, which is not the same as empty.
type Keys map[string][]string

// Set gives a key its values. The names of keys, those of tags in them included,
// know no upper and lower case.
func (k Keys) Set(name string, values ...string) { k[strings.ToLower(name)] = values }

// Verdict is how a request was decided.
type Verdict int

// Verdicts.
const (
	// NotAllowed is what no statement speaks of.
	NotAllowed Verdict = iota
	Allowed
	// Denied is denied by a statement.
	Denied
)

// Use is an action of a statement that a decision rests on.
type Use struct {
	Sid    string
	Action string // as the statement has it
}

// Decide decides one request, and gives what allowed or denied it.
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

// Uses are all actions of all statements, in their order.
func (p Policy) Uses() []Use {
	var all []Use
	for _, s := range p.statements {
		for _, a := range s.actions {
			all = append(all, Use{s.sid, a.text})
		}
	}
	return all
}

// applies gives the action of the statement that matches. A statement with a
// variable that the request has no value for does not apply at all.
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

// answer is yes or no, or that it cannot be told, because a variable has no
// value.
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
