package app

import (
	"context"
	"errors"
	"time"

	"github.com/portlease/portlease/allocator/claim"
	"github.com/portlease/portlease/allocator/inventory"
	"github.com/portlease/portlease/allocator/kubelease"
	"github.com/portlease/portlease/allocator/kubepod"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
)

// views is what people look at. It shows this replica's view, which may be late.
type views struct {
	leases  *kubelease.Leases
	stock   *inventory.Inventory
	service *claim.Service
	pods    *kubepod.Door
}

type poolView struct {
	Name          string           `json:"name"`
	LoadBalancers []balancerView   `json:"loadBalancers"`
	LeftOut       []string         `json:"leftOut,omitempty"`
	Ports         map[string]int64 `json:"ports"`
}

type balancerView struct {
	ARN  string `json:"arn"`
	Host string `json:"host"`
	// Listeners is how many the last AWS listing showed.
	Listeners     int `json:"listeners"`
	ListenerLimit int `json:"listenerLimit"`
}

type portView struct {
	Lease           string           `json:"lease"`
	LoadBalancerARN string           `json:"loadBalancerARN"`
	ListenerPort    int              `json:"listenerPort"`
	State           ledger.PortState `json:"state"`
	Generation      int              `json:"generation"`
	Namespace       string           `json:"namespace,omitempty"`
	Pod             string           `json:"pod,omitempty"`
	PodUID          string           `json:"podUID,omitempty"`
	TargetGroupARN  string           `json:"targetGroupARN,omitempty"`
	ListenerARN     string           `json:"listenerARN,omitempty"`
	ChangedAt       time.Time        `json:"changedAt,omitzero"`
}

// Pools implements httpapi.Views.
func (v views) Pools(context.Context) (any, error) {
	var out []poolView
	ports := v.leases.Ports().View()
	for _, name := range v.stock.Names() {
		pool, _ := v.stock.Pool(name)
		p := poolView{Name: name, LeftOut: pool.LeftOut, LoadBalancers: []balancerView{}, Ports: make(map[string]int64)}
		for _, lb := range pool.LoadBalancers {
			p.LoadBalancers = append(p.LoadBalancers, balancerView{ARN: lb.ARN, Host: lb.Host, Listeners: len(lb.Seen), ListenerLimit: lb.Limit})
			total := 0
			for _, r := range lb.Ranges {
				total += r.To - r.From + 1
			}
			p.Ports["total"] += int64(total)
			for _, r := range ports {
				if r.Value.LoadBalancerARN == lb.ARN && r.Value.State != ledger.Free {
					p.Ports[string(r.Value.State)]++
				}
			}
		}
		out = append(out, p)
	}
	return map[string]any{"pools": out}, nil
}

// Ports implements httpapi.Views.
func (v views) Ports(context.Context) (any, error) {
	out := []portView{}
	for _, r := range v.leases.Ports().View() {
		out = append(out, viewOf(r))
	}
	return map[string]any{"ports": out}, nil
}

// Port implements httpapi.Views.
func (v views) Port(ctx context.Context, loadBalancerID string, port int) (any, error) {
	r, err := v.leases.Ports().Get(ctx, ledger.PortName(loadBalancerID, port))
	if errors.Is(err, ledger.ErrAbsent) {
		return nil, api.Errorf(api.NotFound, "port %d of load balancer %s has never been claimed", port, loadBalancerID)
	}
	if err != nil {
		return nil, err
	}
	return viewOf(r), nil
}

// ClaimOf implements httpapi.Views.
func (v views) ClaimOf(ctx context.Context, namespace, pod string) (any, error) {
	p, err := v.pods.Look(ctx, namespace, pod)
	if err != nil {
		return nil, err
	}
	if p == nil {
		return nil, api.Errorf(api.NotFound, "there is no pod %s/%s", namespace, pod)
	}
	return v.service.Show(ctx, p.UID)
}

func viewOf(r ledger.Record[ledger.Port]) portView {
	p := r.Value
	return portView{
		Lease: r.Name, LoadBalancerARN: p.LoadBalancerARN, ListenerPort: p.ListenerPort, State: p.State, Generation: p.Generation,
		Namespace: p.Namespace, Pod: p.Pod, PodUID: p.PodUID, TargetGroupARN: p.TargetGroupARN, ListenerARN: p.ListenerARN, ChangedAt: p.TouchedAt,
	}
}
