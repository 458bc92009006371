package elbemu

import "slices"

// groupWeight is a target group and its weight, as given by a call.
type groupWeight struct {
	arn    string
	weight int
}

// listenerGiven holds the listener parameters of a call. Absent fields are nil or empty.
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

// readActions parses the action of a Network Load Balancer's listener: one forward action.
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

// apply returns old with the given parameters changed.
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
