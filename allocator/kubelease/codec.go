package kubelease

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portlease/portlease/allocator/ledger"
)

// Labels and annotations of the Leases. labelPod and labelPort are for people alone, so that
// kubectl get leases shows who has a port.
const (
	labelKind      = "portlease.dev/kind"
	labelState     = "portlease.dev/state"
	labelPodUID    = "portlease.dev/pod-uid"
	labelNamespace = "portlease.dev/namespace"
	labelPod       = "portlease.dev/pod"
	labelPort      = "portlease.dev/port"
	annotation     = "portlease.dev/record"
	// annotationEndpoint has the endpoints of a claim.
	annotationEndpoint = "portlease.dev/endpoint"
	// labelIP is a prefix of an IP address. A claim may record two addresses, and one
	// selector must find it by either.
	labelIP = "ip.portlease.dev/"

	kindClaim  = "claim"
	kindPort   = "port"
	kindCordon = "load-balancer"
	kindBudget = "budget"
)

// codec writes one kind of record into a Lease and reads it back. Values that a Lease
// has a field for are in that field only; the others are JSON in one annotation.
type codec[T any] struct {
	kind string
	// state returns the state of a record. It is empty for a record that is unreadable
	// or was not written by portlease.
	state       func(T) string
	writeFields func(T, *coordinationv1.Lease)
	readFields  func(*T, *coordinationv1.Lease)
}

func (c codec[T]) encode(namespace string, r ledger.Record[T]) (*coordinationv1.Lease, error) {
	state := c.state(r.Value)
	if state == "" {
		return nil, fmt.Errorf("encoding %s: it has no state", r.Name)
	}
	text, err := json.Marshal(r.Value)
	if err != nil {
		return nil, fmt.Errorf("encoding %s: %w", r.Name, err)
	}
	l := &coordinationv1.Lease{}
	l.Name, l.Namespace, l.ResourceVersion = r.Name, namespace, r.Version
	l.Labels = map[string]string{labelKind: c.kind, labelState: state}
	l.Annotations = map[string]string{annotation: string(text)}
	c.writeFields(r.Value, l)
	return l, nil
}

func (c codec[T]) decode(l *coordinationv1.Lease) (ledger.Record[T], error) {
	r := ledger.Record[T]{Name: l.Name, UID: string(l.UID), Version: l.ResourceVersion, CreatedAt: l.CreationTimestamp.Time}
	if l.Labels[labelKind] != c.kind {
		return r, unreadable(l, fmt.Errorf("it is not labeled %s=%s", labelKind, c.kind))
	}
	var value T
	if err := json.Unmarshal([]byte(l.Annotations[annotation]), &value); err != nil {
		return r, unreadable(l, err)
	}
	if c.state(value) == "" {
		return r, unreadable(l, errors.New("it has no state"))
	}
	c.readFields(&value, l)
	r.Value = value
	return r, nil
}

func unreadable(l *coordinationv1.Lease, err error) error {
	return fmt.Errorf("%w: restore annotation %s of lease %s, or delete that lease: %w", ledger.ErrUnreadable, annotation, l.Name, err)
}

var portCodec = codec[ledger.Port]{
	kind:  kindPort,
	state: func(p ledger.Port) string { return string(p.State) },
	writeFields: func(p ledger.Port, l *coordinationv1.Lease) {
		transitions := int32(p.Generation)
		l.Spec.HolderIdentity, l.Spec.LeaseTransitions = &p.Holder, &transitions
		l.Spec.RenewTime = microTime(p.UpdatedAt)
		l.Labels[labelPort] = strconv.Itoa(p.ListenerPort)
		if p.Holder != "" {
			l.Spec.AcquireTime = microTime(p.AcquiredAt)
			l.Labels[labelPodUID], l.Labels[labelNamespace], l.Labels[labelPod] = p.PodUID, p.Namespace, labelValue(p.Pod)
		}
	},
	readFields: func(p *ledger.Port, l *coordinationv1.Lease) {
		if l.Spec.HolderIdentity != nil {
			p.Holder = *l.Spec.HolderIdentity
		}
		if l.Spec.LeaseTransitions != nil {
			p.Generation = int(*l.Spec.LeaseTransitions)
		}
		p.UpdatedAt, p.AcquiredAt = timeOf(l.Spec.RenewTime), timeOf(l.Spec.AcquireTime)
	},
}

var claimCodec = codec[ledger.Claim]{
	kind:  kindClaim,
	state: func(c ledger.Claim) string { return string(c.State) },
	writeFields: func(c ledger.Claim, l *coordinationv1.Lease) {
		holder := c.Namespace + "/" + c.Pod
		seconds := int32(c.Duration / time.Second)
		l.Spec.HolderIdentity, l.Spec.LeaseDurationSeconds = &holder, &seconds
		l.Spec.RenewTime, l.Spec.AcquireTime = microTime(c.RenewedAt), microTime(c.AcquiredAt)
		l.Labels[labelPodUID], l.Labels[labelNamespace], l.Labels[labelPod] = c.PodUID, c.Namespace, labelValue(c.Pod)
		if endpoints := endpointsOf(c); endpoints != "" {
			l.Annotations[annotationEndpoint] = endpoints
		}
		if c.PreviousIP != "" {
			l.Labels[ipLabel(c.PreviousIP)] = "previous"
		}
		if c.PodIP != "" {
			l.Labels[ipLabel(c.PodIP)] = "current"
		}
	},
	readFields: func(c *ledger.Claim, l *coordinationv1.Lease) {
		if l.Spec.LeaseDurationSeconds != nil {
			c.Duration = time.Duration(*l.Spec.LeaseDurationSeconds) * time.Second
		}
		c.RenewedAt, c.AcquiredAt = timeOf(l.Spec.RenewTime), timeOf(l.Spec.AcquireTime)
	},
}

var cordonCodec = codec[ledger.Cordon]{
	kind: kindCordon,
	state: func(c ledger.Cordon) string {
		switch {
		case c.LoadBalancerARN == "":
			return ""
		case c.Cordoned != "":
			return "cordoned"
		}
		return "available"
	},
	writeFields: func(c ledger.Cordon, l *coordinationv1.Lease) { l.Spec.RenewTime = microTime(c.UpdatedAt) },
	readFields:  func(c *ledger.Cordon, l *coordinationv1.Lease) { c.UpdatedAt = timeOf(l.Spec.RenewTime) },
}

var budgetCodec = codec[ledger.Budget]{
	kind:        kindBudget,
	state:       func(ledger.Budget) string { return "shared" },
	writeFields: func(b ledger.Budget, l *coordinationv1.Lease) { l.Spec.RenewTime = microTime(b.UpdatedAt) },
	readFields:  func(b *ledger.Budget, l *coordinationv1.Lease) { b.UpdatedAt = timeOf(l.Spec.RenewTime) },
}

// endpointsOf are the endpoints of a claim as its pod announces them.
func endpointsOf(c ledger.Claim) string {
	var all []string
	for _, p := range c.Ports {
		all = append(all, net.JoinHostPort(c.LoadBalancer.Host, strconv.Itoa(p.ListenerPort)))
	}
	return strings.Join(all, ",")
}

// labelValue is a pod's name as the value of a label, which has at most 63 characters.
func labelValue(name string) string {
	const most = 63
	if len(name) <= most {
		return name
	}
	return strings.TrimRight(name[:most], "-.")
}

// ipLabel is the label key of an address. Colons are not allowed in keys, so an IPv6
// address is written in hexadecimal digits.
func ipLabel(s string) string {
	ip, err := netip.ParseAddr(s)
	if err != nil || ip.Is4() {
		return labelIP + s
	}
	return labelIP + hex.EncodeToString(ip.AsSlice())
}

func microTime(t time.Time) *metav1.MicroTime {
	m := metav1.NewMicroTime(t)
	return &m
}

func timeOf(m *metav1.MicroTime) time.Time {
	if m == nil {
		return time.Time{}
	}
	return m.Time
}
