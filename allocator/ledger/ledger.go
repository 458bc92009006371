// Package ledger has the records of claims and ports, and the contract of the tables
// that keep them.
//
// The ledger is all Leases of one installation. It is the truth; what a process has in
// memory is a cache and may be stale. Every change is a compare-and-swap on the version
// that was read, so any number of replicas may decide at once and one of them succeeds.
// Package kubelease writes the records into Leases.
package ledger

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/portlease/portlease/allocator/budget"
)

// Cordon is the record of what admins decided about one load balancer, whatever pools
// it is in.
type Cordon struct {
	LoadBalancerARN string `json:"loadBalancerARN"`
	// Cordoned says who keeps new claims off it and why; empty if nobody does.
	Cordoned  string    `json:"cordoned,omitempty"`
	UpdatedAt time.Time `json:"-"`
}

// Budget is the record of the account's token buckets as of the last write. Each
// replica adds what was refilled since then, by its own clock.
type Budget struct {
	budget.State
	UpdatedAt time.Time `json:"-"`
}

// ClaimName is the name of the claim lease of a pod.
func ClaimName(podUID string) string { return "claim-" + podUID }

// PortName is the name of the port lease of a listener port.
func PortName(loadBalancerID string, listenerPort int) string {
	return fmt.Sprintf("%s-%d", loadBalancerID, listenerPort)
}

// CordonName is the name of the Lease of a load balancer.
func CordonName(loadBalancerID string) string { return "lb-" + loadBalancerID }

// BudgetName is the name of the one Lease that holds the AWS budget.
const BudgetName = "portlease-budget"

// SplitPortName is the inverse of PortName.
func SplitPortName(name string) (loadBalancerID string, listenerPort int, ok bool) {
	cut := strings.LastIndexByte(name, '-')
	if cut < 0 {
		return "", 0, false
	}
	listenerPort, err := strconv.Atoi(name[cut+1:])
	return name[:cut], listenerPort, err == nil
}

// LoadBalancerID is the last segment of a load balancer's ARN, which is unique and
// short.
func LoadBalancerID(arn string) string { return arn[strings.LastIndexByte(arn, '/')+1:] }

// ID is the ledger's ID. It differs between installations, even in one AWS account or
// one cluster.
func ID(kubeSystemUID, namespace string) string { return kubeSystemUID + "/" + namespace }
