package elbemu

import (
	"net/url"
)

// step applies one decoded call to the state. It runs under Emulator.mu and
// either does everything or, with an error, nothing. The result is marshalled
// as the call's result element.
type step func(*state) (any, *APIError)

// void is the result of actions that answer nothing; on the wire it is still an
// empty result element.
type void struct{}

type action struct {
	kind   kind
	decode func(fields) step
}

// actions are all that the emulator knows.
var actions = map[string]action{
	"CreateLoadBalancer":             {resourceIntensive, decodeCreateLoadBalancer},
	"DescribeLoadBalancers":          {nonMutating, decodeDescribeLoadBalancers},
	"DeleteLoadBalancer":             {mutating, decodeDeleteLoadBalancer},
	"ModifyLoadBalancerAttributes":   {mutating, decodeModifyLoadBalancerAttributes},
	"DescribeLoadBalancerAttributes": {nonMutating, decodeDescribeLoadBalancerAttributes},

	"CreateTargetGroup":             {mutating, decodeCreateTargetGroup},
	"DescribeTargetGroups":          {nonMutating, decodeDescribeTargetGroups},
	"ModifyTargetGroup":             {mutating, decodeModifyTargetGroup},
	"DeleteTargetGroup":             {mutating, decodeDeleteTargetGroup},
	"ModifyTargetGroupAttributes":   {mutating, decodeModifyTargetGroupAttributes},
	"DescribeTargetGroupAttributes": {nonMutating, decodeDescribeTargetGroupAttributes},

	"RegisterTargets":      {registration, decodeRegisterTargets},
	"DeregisterTargets":    {registration, decodeDeregisterTargets},
	"DescribeTargetHealth": {nonMutating, decodeDescribeTargetHealth},

	"CreateListener":             {mutating, decodeCreateListener},
	"DescribeListeners":          {nonMutating, decodeDescribeListeners},
	"ModifyListener":             {mutating, decodeModifyListener},
	"DeleteListener":             {mutating, decodeDeleteListener},
	"ModifyListenerAttributes":   {mutating, decodeModifyListenerAttributes},
	"DescribeListenerAttributes": {nonMutating, decodeDescribeListenerAttributes},

	"AddTags":      {mutating, decodeAddTags},
	"RemoveTags":   {mutating, decodeRemoveTags},
	"DescribeTags": {nonMutating, decodeDescribeTags},

	"DescribeAccountLimits": {nonMutating, decodeDescribeAccountLimits},
}

// apiVersion is the only version of the API there is.
const apiVersion = "2015-12-01"

// maxActionName bounds what the call log keeps of names it does not know.
const maxActionName = 80

// decode turns a call's parameters into a step. A call with a mistake becomes a
// step that refuses, so that it still takes its tokens and is logged.
func decode(params url.Values) (name string, k kind, run step) {
	f := parseForm(params)
	top := f.fields()
	name = top.optional("Action")
	version := top.optional("Version")
	failing := func(err *APIError) step {
		return func(*state) (any, *APIError) { return nil, err }
	}
	if len(name) > maxActionName {
		name = name[:maxActionName]
	}
	if name == "" {
		return "", nonMutating, failing(refuse(codeMissingAction, "the request must contain the parameter Action"))
	}
	known, ok := actions[name]
	switch {
	case !ok:
		return name, nonMutating, failing(refuse(codeInvalidAction, "the action %q is not valid for this web service, or not emulated", name))
	case version != apiVersion:
		return name, known.kind, failing(refuse(codeInvalidAction, "the action %s is not valid for version %.40q; use %s", name, version, apiVersion))
	}
	run = known.decode(top)
	if err := f.done(); err != nil {
		run = failing(err)
	}
	return name, known.kind, run
}
