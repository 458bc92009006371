package claim

import (
	"regexp"

	"github.com/portlease/portlease/allocator/ledger"
)

// The janitor deletes by the ARNs that agents report, so an ARN is accepted only if
// it can be nothing but what the agent says. AWS gives them the form
// arn:PARTITION:elasticloadbalancing:REGION:ACCOUNT:… (Service Authorization
// Reference, "Elastic Load Balancing V2", resource types).
var (
	loadBalancerARN = regexp.MustCompile(`^(arn:[a-z0-9-]+:elasticloadbalancing:[a-z0-9-]+:[0-9]+:)loadbalancer/(net/[^/]+/[0-9a-f]{16})$`)
	idPattern       = regexp.MustCompile(`^[0-9a-f]{16}$`)
)

// targetGroupOf reports whether an ARN is that of a target group of this name, in
// the account and region of the port's load balancer.
func targetGroupOf(p ledger.Port, name, arn string) bool {
	m := loadBalancerARN.FindStringSubmatch(p.LoadBalancerARN)
	return m != nil && hasID(arn, m[1]+"targetgroup/"+name+"/")
}

// listenerOf reports whether an ARN is that of a listener of the port's load
// balancer.
func listenerOf(p ledger.Port, arn string) bool {
	m := loadBalancerARN.FindStringSubmatch(p.LoadBalancerARN)
	return m != nil && hasID(arn, m[1]+"listener/"+m[2]+"/")
}

func hasID(arn, prefix string) bool {
	return len(arn) > len(prefix) && arn[:len(prefix)] == prefix && idPattern.MatchString(arn[len(prefix):])
}
