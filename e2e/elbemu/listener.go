package elbemu

import (
	"fmt"
	"maps"
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

// listenerSettings are what a repeated create compares, beside the actions.
type listenerSettings struct {
	port        int
	protocol    string
	certificate string
	policy      string // of TLS
	alpn        string
}

// forward is one target group of a listener's action.
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

// groupWeight is a target group as a call names it.
type groupWeight struct {
	arn    string
	weight int
}

// listenerGiven is what a call says of a listener; absent fields are nil or
// empty.
type listenerGiven struct {
	port         *int
	protocol     string
	actions      []groupWeight
	certificates []string
	policy       string
	alpn         []string
}

func (p fields) readListener() listenerGiven {
	given := listenerGiven{
		port:     p.number("Port", 1, 65535),
		protocol: p.oneOf("Protocol", protocols...),
		actions:  p.readActions(),
		policy:   p.optional("SslPolicy"),
		alpn:     p.texts("AlpnPolicy"),
	}
	for _, m := range p.members("Certificates") {
		given.certificates = append(given.certificates, m.required("CertificateArn"))
	}
	if given.protocol != "" && !slices.Contains(networkProtocols, given.protocol) {
		p.f.refuse(invalid("Listener protocol '%s' must be one of 'TLS, TCP, TCP_UDP, UDP'", given.protocol))
	}
	if len(given.certificates) > 1 || len(given.alpn) > 1 {
		p.f.refuse(invalid("At most one certificate and one ALPN policy can be specified"))
	}
	return given
}

// readActions reads the one forward action of a Network Load Balancer's
// listener.
func (p fields) readActions() []groupWeight {
	list := p.members("DefaultActions")
	if len(list) > 1 {
		p.f.refuse(refuse(codeTooManyActions, "A listener of a Network Load Balancer has exactly one default action"))
	}
	if len(list) == 0 {
		return nil
	}
	m := list[0]
	kind, plain := m.required("Type"), m.optional("TargetGroupArn")
	m.number("Order", 1, 50000)
	if kind != "forward" {
		p.f.refuse(refuse(codeInvalidLBAction, "The action type '%.40s' is not valid with a Network Load Balancer; it must be 'forward'", kind))
	}
	var groups []groupWeight
	if config, ok := m.structure("ForwardConfig"); ok {
		for _, tuple := range config.members("TargetGroups") {
			g := groupWeight{arn: tuple.required("TargetGroupArn"), weight: 1}
			setNumber(&g.weight, tuple.number("Weight", 0, 999))
			groups = append(groups, g)
		}
	}
	switch {
	case len(groups) == 0 && plain == "":
		p.f.refuse(invalid("A target group ARN must be specified"))
	case len(groups) == 0:
		groups = []groupWeight{{arn: plain, weight: 1}}
	case plain != "" && (len(groups) != 1 || groups[0].arn != plain):
		p.f.refuse(invalid("You cannot specify both a target group ARN and a forward configuration of other target groups"))
	}
	return groups
}

func decodeCreateListener(p fields) step {
	lbARN, given, tags := p.required("LoadBalancerArn"), p.readListener(), p.readTags("Tags")
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

// apply is what results from changing old by what is given.
func (given listenerGiven) apply(old listenerSettings) (listenerSettings, *APIError) {
	n := old
	setNumber(&n.port, given.port)
	setText(&n.protocol, given.protocol)
	if len(given.certificates) == 1 {
		n.certificate = given.certificates[0]
	}
	setText(&n.policy, given.policy)
	if len(given.alpn) == 1 {
		n.alpn = given.alpn[0]
	}
	switch {
	case n.protocol == "TLS" && n.certificate == "":
		return n, refuse(codeCertificateNotFound, "A certificate must be specified for TLS listeners")
	case n.protocol == "TLS" && n.policy == "":
		n.policy = "ELBSecurityPolicy-2016-08"
	case n.protocol != "TLS" && old.protocol == "TLS":
		n.certificate, n.policy, n.alpn = "", "", "" // documented: changing to TCP removes them
	case n.protocol != "TLS" && n.certificate+n.policy+n.alpn != "":
		return n, invalid("A certificate, security policy or ALPN policy can only be specified for TLS listeners")
	}
	return n, nil
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

// findListener finds what the present call can see.
func (s *state) findListener(arn string) (*listener, *APIError) {
	if !strings.HasPrefix(arn, "arn:") || !strings.Contains(arn, ":listener/") {
		return nil, invalid("'%.200s' is not a valid listener ARN", arn)
	}
	l, ok := s.listeners[arn]
	if !ok || !s.visible(l.resource) {
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
			return s.visible(l.resource) && (l.lb.resource.arn == lbARN || slices.Contains(arns, l.resource.arn))
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
	delete(s.listeners, l.resource.arn)
	delete(l.lb.listeners, l.settings.port)
	previous := l.forwards
	l.forwards = nil
	s.detach(l, previous)
}

func decodeModifyListenerAttributes(p fields) step {
	arn := p.required("ListenerArn")
	wanted := p.readAttributes("Listener", listenerChecks)
	return func(s *state) (any, *APIError) {
		l, err := s.findListener(arn)
		if err != nil {
			return nil, err
		}
		if l.settings.protocol != "TCP" && l.settings.protocol != "TLS" {
			return nil, refuse(codeInvalidConfiguration, "Listener attribute '%s' is not supported for protocol '%s'", attrIdleTimeout, l.settings.protocol)
		}
		maps.Copy(l.attributes, wanted)
		s.changed()
		return attributesResult{listOf(l.attributes.xml())}, nil
	}
}

func decodeDescribeListenerAttributes(p fields) step {
	arn := p.required("ListenerArn")
	return func(s *state) (any, *APIError) {
		l, err := s.findListener(arn)
		if err != nil {
			return nil, err
		}
		return attributesResult{listOf(l.attributes.xml())}, nil
	}
}
