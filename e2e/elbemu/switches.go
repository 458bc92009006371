package elbemu

// Switches select between behaviors of AWS that are unverified (grade U in the README).
// The zero value selects the documented default of each.
type Switches struct {
	// TagsCompared makes a repeated create with other tags fail because of different
	// settings. Default: it succeeds and keeps the first tags.
	TagsCompared bool
	// MissingTargetGroupFails makes DeleteTargetGroup of a missing group return
	// TargetGroupNotFound. Default: it succeeds, because the API model has only
	// ResourceInUse.
	MissingTargetGroupFails bool
	// ThrottlingException is the code of a throttled call. Default: Throttling, which SDKs
	// report from the wire.
	ThrottlingException bool
	// RefuseDoubleHyphen refuses "--" in names. Default: accepted
	// (aws-sdk-js #3300).
	RefuseDoubleHyphen bool
	// HealthCheckProtocolCode is the code for an unsupported health check
	// protocol. Default: InvalidConfigurationRequest.
	HealthCheckProtocolCode string
	// CreateListenerOnListener also requires CreateListener on the new listener. Default:
	// only on the load balancer, as in the Service Authorization Reference.
	CreateListenerOnListener bool
	// TagsListenerOnLoadBalancer requires AddTags on the load balancer for a new listener
	// with tags. One report suggests that (aws-load-balancer-controller #3086). Default:
	// on the new listener, as for target groups.
	TagsListenerOnLoadBalancer bool
	// MissingDenied evaluates policies for a missing resource as if it existed without
	// tags, so a policy about tags returns AccessDenied. Default: the call returns the
	// resource's NotFound.
	MissingDenied bool
	// UnusedTargetsDrain makes deregistered targets drain even if no listener uses their
	// group. Default: they are gone at once.
	UnusedTargetsDrain bool
}
