package poolfile

import (
	"fmt"

	"github.com/portlease/portlease/allocator/pool"
	"github.com/portlease/portlease/shared/api"
)

// DefaultPerPod is more ports than a game server usually has. One pod that asks for more by
// mistake, or on purpose, would take them from others.
const DefaultPerPod = 8

type quota struct {
	PerPod       *int `json:"perPod"`
	PerNamespace int  `json:"perNamespace"`
}

func (q quota) check() (pool.Quota, error) {
	checked := pool.Quota{PerPod: DefaultPerPod, PerNamespace: q.PerNamespace}
	if q.PerPod != nil {
		checked.PerPod = *q.PerPod
	}
	if checked.PerPod < 0 || checked.PerPod > api.MaxPorts {
		return checked, fmt.Errorf("perPod %d is outside 0-%d: 0 sets no limit, and a load balancer has room for %d listeners", checked.PerPod, api.MaxPorts, api.MaxPorts)
	}
	if checked.PerNamespace < 0 {
		return checked, fmt.Errorf("perNamespace %d is negative: 0 sets no limit", checked.PerNamespace)
	}
	return checked, nil
}
