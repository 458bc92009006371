package elbemu

import (
	"net/url"
)

// step applies one decoded call to the state. It runs under Emulator.mu. It applies the
// whole call, or returns an error and changes nothing. Its result is marshaled as the
// call's result element.
type step func(*state) (any, *APIError)

// void is the result of actions that return nothing. The response still has an empty
// result element.
type void struct{}

type action struct {
	kind   kind
	decode func(fields) step
}

// actions are all actions that the emulator supports.
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

// apiVersion is the only version of the API.
const apiVersion = "2015-12-01"

// maxActionName bounds the length of unknown action names in the call log.
const maxActionName = 80

// decoded is a parsed call.
type decoded struct {
	name string
	kind kind
	// mistake is the first error in the parameters. If it is set, run must not be called.
	// The call still takes its tokens and is logged.
	mistake *APIError
	run     step
}

func decode(params url.Values) decoded {
	f := parseForm(params)
	top := f.fields()
	d := decoded{name: top.optional("Action"), kind: nonMutating}
	version := top.optional("Version")
	if len(d.name) > maxActionName {
		d.name = d.name[:maxActionName]
	}
	if d.name == "" {
		d.mistake = refuse(codeMissingAction, "the request must contain the parameter Action")
		return d
	}
	known, ok := actions[d.name]
	if !ok {
		d.mistake = refuse(codeInvalidAction, "the action %q is not valid for this web service, or not emulated", d.name)
		return d
	}
	d.kind = known.kind
	if version != apiVersion {
		d.mistake = refuse(codeInvalidAction, "the action %s is not valid for version %.40q; use %s", d.name, version, apiVersion)
		return d
	}
	d.run = known.decode(top)
	d.mistake = f.done()
	return d
}
