package elbemu

// Switches choose where nobody has verified what AWS does (grade U in the
// README). The zero value is the documented default of each.
type Switches struct {
	// TagsCompared makes a repeated create with other tags a different-settings
	// error. Default: it succeeds, and the first tags stay.
	TagsCompared bool
	// MissingTargetGroupFails makes DeleteTargetGroup of a missing group answer
	// TargetGroupNotFound. Default: it succeeds, as only ResourceInUse is
	// modeled.
	MissingTargetGroupFails bool
	// ThrottlingException is the code of a throttled call, instead of the
	// Throttling that SDKs report from the wire.
	ThrottlingException bool
	// RefuseDoubleHyphen refuses "--" in names. Default: accepted
	// (aws-sdk-js #3300).
	RefuseDoubleHyphen bool
	// HealthCheckProtocolCode is the code for an unsupported health check
	// protocol. Default: InvalidConfigurationRequest.
	HealthCheckProtocolCode string
	// CreateListenerOnListener asks for CreateListener on the listener that is to be
	// made, too. Default: on the load balancer alone, as the Service Authorization
	// Reference lists it.
	CreateListenerOnListener bool
	// TagsListenerOnLoadBalancer asks for AddTags on the load balancer when a listener
	// is made with tags, as somebody seems to have seen
	// (aws-load-balancer-controller #3086). Default: on the listener that is to be
	// made, as it is for target groups.
	TagsListenerOnLoadBalancer bool
	// MissingDenied evaluates policies for what does not exist as for something
	// without tags, so that a policy about tags answers AccessDenied. Default: the
	// call answers that it is not there.
	MissingDenied bool
	// UnusedTargetsDrain lets deregistered targets of a group that no listener
	// uses drain too. Default: they are gone at once.
	UnusedTargetsDrain bool
}
