package pool

import (
	"time"

	"github.com/portlease/portlease/shared/api"
)

// retryQuota is when to ask again after a refusal by a quota. Other pods have to go first,
// or an admin has to change the pool.
const retryQuota = 15 * time.Second

// Quota is how many ports of a pool may be held. Zero means no limit.
type Quota struct {
	// PerPod limits the ports of one pod.
	PerPod int
	// PerNamespace limits the ports of all pods of one namespace together.
	PerNamespace int
}

// admit refuses a pod that asks for more ports than one pod may have.
func (q Quota) admit(pool string, ports int) error {
	if q.PerPod > 0 && ports > q.PerPod {
		return api.Errorf(api.Quota, "the pod asks for %d ports, and pool %s allows %d for each pod: ask for fewer, or raise quota.perPod of the pool",
			ports, pool, q.PerPod).WithRetryAfter(retryQuota)
	}
	return nil
}

// AdmitMore refuses a pod that asks for more ports than its namespace may still have. held
// is how many the namespace has.
func (p Pool) AdmitMore(namespace string, held, ports int) error {
	if most := p.Terms.Quota.PerNamespace; most > 0 && held+ports > most {
		return api.Errorf(api.Quota, "namespace %s has %d of its %d ports of pool %s, and the pod asks for %d: delete pods, wait until the ports of stopping pods are unbound, or raise quota.perNamespace of the pool",
			namespace, held, most, p.Name, ports).WithRetryAfter(retryQuota)
	}
	return nil
}
