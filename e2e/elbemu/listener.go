package elbemu

import (
	"fmt"
	"slices"
	"strings"
)

type listener struct {
	resource   created
	lb         *loadBalancer
	settings   listenerSettings
	forwards   []forward
	attributes attributes
}

func (l *listener) position() uint64 { return l.resource.order }

// listenerSettings are compared when a create is repeated, in addition to the actions.
type listenerSettings struct {
	port        int
	protocol    string
	certificate string
	policy      string // of TLS
	alpn        string
}

// forward is one target group in a listener's action.
type forward struct {
	group  *targetGroup
	weight int
}

type xmlGroupTuple struct {
	TargetGroupArn string
	Weight         int
}

type xmlForward struct {
	TargetGroups                members[xmlGroupTuple]
	TargetGroupStickinessConfig struct{ Enabled bool }
}

type xmlAction struct {
	Type           string
	TargetGroupArn string `xml:",omitempty"`
	ForwardConfig  xmlForward
}

type xmlCertificate struct{ CertificateArn string }

type xmlListener struct {
	ListenerArn     string
	LoadBalancerArn string
	Port            int
	Protocol        string
	Certificates    *members[xmlCertificate] `xml:",omitempty"`
	SslPolicy       string                   `xml:",omitempty"`
	AlpnPolicy      *members[string]         `xml:",omitempty"`
	DefaultActions  members[xmlAction]
}

type listenersResult struct {
	Listeners  members[xmlListener]
	NextMarker string `xml:",omitempty"`
}

func (l *listener) xml() xmlListener {
	x := xmlListener{
		ListenerArn:     l.resource.arn,
		LoadBalancerArn: l.lb.resource.arn,
		Port:            l.settings.port,
		Protocol:        l.settings.protocol,
		SslPolicy:       l.settings.policy,
	}
	if l.settings.certificate != "" {
		x.Certificates = &members[xmlCertificate]{[]xmlCertificate{{l.settings.certificate}}}
	}
	if l.settings.alpn != "" {
		x.AlpnPolicy = &members[string]{[]string{l.settings.alpn}}
	}
	action := xmlAction{Type: "forward"}
	for _, f := range l.forwards {
		action.ForwardConfig.TargetGroups.Members = append(action.ForwardConfig.TargetGroups.Members, xmlGroupTuple{f.group.resource.arn, f.weight})
	}
	if len(l.forwards) == 1 {
		action.TargetGroupArn = l.forwards[0].group.resource.arn
	}
	x.DefaultActions = listOf([]xmlAction{action})
	return x
}

func decodeCreateListener(p fields) step {
	lbARN, given, tags := p.required("LoadBalancerArn"), p.readListener(), p.readTags()
	switch {
	case given.protocol == "":
		p.f.refuse(invalid("A listener protocol must be specified"))
	case given.port == nil:
		p.f.refuse(invalid("A listener port must be specified"))
	case len(given.actions) == 0:
		p.f.refuse(invalid("A default action must be specified"))
	}
	return func(s *state) (any, *APIError) {
		l, err := s.createListener(lbARN, given, tags)
		if err != nil {
			return nil, err
		}
		return listenersResult{Listeners: listOf([]xmlListener{l.xml()})}, nil
	}
}

func (s *state) createListener(lbARN string, given listenerGiven, tags tagSet) (*listener, *APIError) {
	lb, err := s.findLoadBalancer(lbARN)
	if err != nil {
		return nil, err
	}
	l := &listener{lb: lb, attributes: attributes{attrIdleTimeout: "350"}}
	if l.settings, err = given.apply(listenerSettings{}); err != nil {
		return nil, err
	}
	if l.forwards, err = s.findForwards(given.actions); err != nil {
		return nil, err
	}
	if old, taken := lb.listeners[l.settings.port]; taken {
		if old.settings == l.settings && slices.Equal(old.forwards, l.forwards) && s.sameTags(old.resource.tags, tags) {
			return old, nil
		}
		return nil, refuse(codeDuplicateListener, "A listener already exists on this port for this load balancer '%s'", lbARN)
	}
	if err := s.tooManyTags(len(tags)); err != nil {
		return nil, err
	}
	if len(lb.listeners) >= s.cfg.Quotas.Listeners {
		return nil, refuse(codeTooManyListeners, "The maximum number of listeners '%d' has been reached on load balancer '%s'", s.cfg.Quotas.Listeners, lbARN)
	}
	if err := s.admitListener(l, nil); err != nil {
		return nil, err
	}
	l.resource = s.newResource(s.arn(fmt.Sprintf("listener/net/%s/%s/%s", lb.name, lb.id, s.hexID())), tags)
	s.listeners[l.resource.arn] = l
	lb.listeners[l.settings.port] = l
	s.attach(l)
	return l, nil
}

func (s *state) findForwards(groups []groupWeight) ([]forward, *APIError) {
	if len(groups) > s.cfg.Quotas.TargetGroupsPerAction {
		return nil, refuse(codeTooManyTGs, "The maximum number of target groups per action '%d' has been reached", s.cfg.Quotas.TargetGroupsPerAction)
	}
	var forwards []forward
	for _, named := range groups {
		g, err := s.findTargetGroup(named.arn)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(forwards, func(f forward) bool { return f.group == g }) {
			return nil, invalid("The target group '%s' is specified more than once", named.arn)
		}
		forwards = append(forwards, forward{group: g, weight: named.weight})
	}
	return forwards, nil
}

// findListener returns a listener that is visible to the current call.
func (s *state) findListener(arn string) (*listener, *APIError) {
	if !strings.HasPrefix(arn, "arn:") || !strings.Contains(arn, ":listener/") {
		return nil, invalid("'%.200s' is not a valid listener ARN", arn)
	}
	l, ok := s.listeners[arn]
	if !ok || !s.visible(l.resource, s.cfg.Delays.ListenerVisible) {
		return nil, refuse(codeListenerNotFound, "Listener '%s' not found", arn)
	}
	return l, nil
}

func decodeDescribeListeners(p fields) step {
	lbARN, arns, selected := p.optional("LoadBalancerArn"), p.texts("ListenerArns"), p.readPage()
	if (lbARN == "") == (len(arns) == 0) {
		p.f.refuse(invalid("You must specify either listener ARNs or a load balancer ARN"))
	}
	return func(s *state) (any, *APIError) {
		if lbARN != "" {
			if _, err := s.findLoadBalancer(lbARN); err != nil {
				return nil, err
			}
		}
		found := inOrder(s.listeners, func(l *listener) bool {
			return s.visible(l.resource, s.cfg.Delays.ListenerVisible) && (l.lb.resource.arn == lbARN || slices.Contains(arns, l.resource.arn))
		})
		if lbARN == "" && len(found) < distinct(arns) {
			return nil, refuse(codeListenerNotFound, "One or more listeners not found")
		}
		shown, next := cut(selected, found)
		result := listenersResult{NextMarker: next}
		for _, l := range shown {
			result.Listeners.Members = append(result.Listeners.Members, l.xml())
		}
		return result, nil
	}
}

func decodeModifyListener(p fields) step {
	arn, given := p.required("ListenerArn"), p.readListener()
	return func(s *state) (any, *APIError) {
		l, err := s.findListener(arn)
		if err != nil {
			return nil, err
		}
		if err := s.modifyListener(l, given); err != nil {
			return nil, err
		}
		return listenersResult{Listeners: listOf([]xmlListener{l.xml()})}, nil
	}
}

func (s *state) modifyListener(l *listener, given listenerGiven) *APIError {
	changed := *l
	var err *APIError
	if changed.settings, err = given.apply(l.settings); err != nil {
		return err
	}
	if len(given.actions) > 0 {
		if changed.forwards, err = s.findForwards(given.actions); err != nil {
			return err
		}
	}
	if other, taken := l.lb.listeners[changed.settings.port]; taken && other != l {
		return invalid("Listener port '%d' is already in use", changed.settings.port)
	}
	if err := s.admitListener(&changed, l); err != nil {
		return err
	}
	delete(l.lb.listeners, l.settings.port)
	previous := l.forwards
	l.settings, l.forwards = changed.settings, changed.forwards
	l.lb.listeners[l.settings.port] = l
	s.attach(l)
	s.detach(l, previous)
	return nil
}

func decodeDeleteListener(p fields) step {
	arn := p.required("ListenerArn")
	return func(s *state) (any, *APIError) {
		l, err := s.findListener(arn)
		if err != nil {
			return nil, err
		}
		s.removeListener(l)
		return void{}, nil
	}
}

func (s *state) removeListener(l *listener) {
	s.lingerListener(l)
	delete(s.listeners, l.resource.arn)
	delete(l.lb.listeners, l.settings.port)
	previous := l.forwards
	l.forwards = nil
	s.detach(l, previous)
}
