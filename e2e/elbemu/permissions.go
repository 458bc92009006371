package elbemu

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/portlease/portlease/e2e/elbemu/iam"
)

// service is the prefix of actions in policies.
const service = "elasticloadbalancing:"

// named maps each action on one existing resource to the parameter that names the
// resource.
var named = map[string]string{
	"DeleteLoadBalancer":           "LoadBalancerArn",
	"ModifyLoadBalancerAttributes": "LoadBalancerArn",
	"DeleteTargetGroup":            "TargetGroupArn",
	"ModifyTargetGroup":            "TargetGroupArn",
	"ModifyTargetGroupAttributes":  "TargetGroupArn",
	"RegisterTargets":              "TargetGroupArn",
	"DeregisterTargets":            "TargetGroupArn",
	"DeleteListener":               "ListenerArn",
	"ModifyListener":               "ListenerArn",
	"ModifyListenerAttributes":     "ListenerArn",
}

// permissions returns the permissions that a call needs, with exactly the condition keys
// that AWS gives each of them. Source: the Service Authorization Reference. The README
// says which of them are unverified.
func (s *state) permissions(call Call) []iam.Request {
	p := parseForm(call.Params).fields()
	ask := func(action, resource string) iam.Request {
		r := iam.Request{Action: service + action, Resource: resource, Keys: iam.Keys{}}
		r.Keys.Set("aws:SecureTransport", strconv.FormatBool(call.TLS))
		return r
	}
	switch call.Action {
	case "CreateLoadBalancer":
		return s.create(p, ask, s.arn("loadbalancer/net/"+p.optional("Name")+"/*"))
	case "CreateTargetGroup":
		return s.create(p, ask, s.arn("targetgroup/"+p.optional("Name")+"/*"))
	case "CreateListener":
		return s.createListenerNeeds(p, ask)
	case "AddTags", "RemoveTags":
		var all []iam.Request
		for _, arn := range p.texts("ResourceArns") {
			r := ask(call.Action, arn)
			if call.Action == "AddTags" {
				requestTags(r.Keys, p.readTags())
			} else {
				r.Keys.Set("aws:TagKeys", p.texts("TagKeys")...)
			}
			all = append(all, s.on(r)...)
		}
		return all
	}
	if parameter, ok := named[call.Action]; ok {
		return s.on(ask(call.Action, p.optional(parameter)))
	}
	return []iam.Request{ask(call.Action, "*")} // Describe calls have no resources
}

// create returns the permissions to create a resource: the action on the new resource, and
// AddTags if the call has tags.
func (s *state) create(p fields, ask func(action, resource string) iam.Request, arn string) []iam.Request {
	tags, action := p.readTags(), p.optional("Action")
	r := ask(action, arn)
	requestTags(r.Keys, tags)
	return append([]iam.Request{r}, tagging(ask, action, arn, tags)...)
}

// createListenerNeeds returns the permissions of CreateListener, which is authorized on
// the load balancer.
func (s *state) createListenerNeeds(p fields, ask func(action, resource string) iam.Request) []iam.Request {
	const action = "CreateListener"
	lb, tags := p.optional("LoadBalancerArn"), p.readTags()
	made := strings.Replace(lb, ":loadbalancer/", ":listener/", 1) + "/*"
	keyed := func(resource string) iam.Request {
		r := ask(action, resource)
		requestTags(r.Keys, tags)
		r.Keys.Set(service+"ListenerProtocol", p.optional("Protocol"))
		return r
	}
	all := s.on(keyed(lb))
	if len(all) == 0 {
		return nil
	}
	if s.cfg.Switches.CreateListenerOnListener {
		all = append(all, keyed(made))
	}
	if !s.cfg.Switches.TagsListenerOnLoadBalancer {
		return append(all, tagging(ask, action, made, tags)...)
	}
	for _, r := range tagging(ask, action, lb, tags) {
		all = append(all, s.on(r)...)
	}
	return all
}

// tagging returns the permission to tag a resource on creation.
func tagging(ask func(action, resource string) iam.Request, action, arn string, tags tagSet) []iam.Request {
	if len(tags) == 0 {
		return nil
	}
	r := ask("AddTags", arn)
	requestTags(r.Keys, tags)
	r.Keys.Set(service+"CreateAction", action)
	return []iam.Request{r}
}

func requestTags(keys iam.Keys, tags tagSet) {
	if len(tags) == 0 {
		return
	}
	for key, value := range tags {
		keys.Set("aws:RequestTag/"+key, value)
	}
	keys.Set("aws:TagKeys", slices.Sorted(maps.Keys(tags))...)
}

// on adds the tags of the existing resource to the condition keys. A missing resource has
// no tags. Unless Switches.MissingDenied is set, the policy is not evaluated for it, and
// the call itself returns its NotFound.
func (s *state) on(r iam.Request) []iam.Request {
	c, err := s.resource(r.Resource)
	if err != nil && !s.cfg.Switches.MissingDenied {
		return nil
	}
	for key, value := range c.tags {
		r.Keys.Set("aws:ResourceTag/"+key, value)
		r.Keys.Set(service+"ResourceTag/"+key, value)
	}
	return []iam.Request{r}
}

// authorize refuses a call that its access key may not make. A key without a policy may
// make every call.
func (e *Emulator) authorize(call Call) *APIError {
	who := e.principals[call.AccessKeyID]
	if who == nil {
		return nil
	}
	return who.decide(e.state.permissions(call))
}
