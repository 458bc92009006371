package app

import (
	"fmt"
	"os"

	"sigs.k8s.io/yaml"

	"github.com/portlease/portlease/allocator/inventory"
	"github.com/portlease/portlease/allocator/portpool"
	"github.com/portlease/portlease/shared/elb"
)

// poolFile is the file that names the pools.
type poolFile struct {
	Pools []struct {
		// Name is what a pod claims from.
		Name string `json:"name"`
		// LoadBalancers are ARNs of network load balancers.
		LoadBalancers []string `json:"loadBalancers"`
		// ListenerPorts are ranges such as 30000-30049 or single ports. Each load
		// balancer of the pool has all of them.
		ListenerPorts []string `json:"listenerPorts"`
	} `json:"pools"`
}

// ReadPools reads and checks the pool file whole.
func ReadPools(path string) ([]inventory.Pool, error) {
	text, err := os.ReadFile(path) //nolint:gosec // the operator names this file
	if err != nil {
		return nil, fmt.Errorf("reading the pool file: %w", err)
	}
	pools, err := ParsePools(text)
	if err != nil {
		return nil, fmt.Errorf("pool file %s: %w", path, err)
	}
	return pools, nil
}

// ParsePools reads pools from YAML. It refuses unknown fields and whatever could
// never hand out a port.
func ParsePools(text []byte) ([]inventory.Pool, error) {
	var file poolFile
	if err := yaml.UnmarshalStrict(text, &file); err != nil {
		return nil, fmt.Errorf("reading YAML: %w", err)
	}
	if len(file.Pools) == 0 {
		return nil, fmt.Errorf("no pools: name at least one under \"pools\"")
	}
	var pools []inventory.Pool
	names := make(map[string]bool)
	used := make(map[string]string) // load balancer and port → pool
	for i, p := range file.Pools {
		if p.Name == "" {
			return nil, fmt.Errorf("pool number %d has no name: give it the one that pods claim from", i+1)
		}
		if names[p.Name] {
			return nil, fmt.Errorf("pool %q is named twice: merge the two or rename one", p.Name)
		}
		names[p.Name] = true
		pool := inventory.Pool{Name: p.Name, LoadBalancers: p.LoadBalancers}
		for _, text := range p.ListenerPorts {
			r, err := portpool.ParseRange(text)
			if err != nil {
				return nil, fmt.Errorf("pool %q: %w", p.Name, err)
			}
			pool.Ranges = append(pool.Ranges, r)
		}
		if len(pool.Ranges) == 0 || len(pool.LoadBalancers) == 0 {
			return nil, fmt.Errorf("pool %q is empty: give it at least one load balancer and one range of listener ports", p.Name)
		}
		if err := reserve(used, pool); err != nil {
			return nil, err
		}
		pools = append(pools, pool)
	}
	return pools, nil
}

// reserve refuses a listener port that two pools, or one pool twice, would hand
// out.
func reserve(used map[string]string, pool inventory.Pool) error {
	for _, arn := range pool.LoadBalancers {
		id, err := elb.LoadBalancerID(arn)
		if err != nil {
			return fmt.Errorf("pool %q: %w", pool.Name, err)
		}
		for _, r := range pool.Ranges {
			for port := r.From; port <= r.To; port++ {
				key := fmt.Sprintf("%s-%d", id, port)
				if other, taken := used[key]; taken {
					return fmt.Errorf("pool %q: listener port %d of load balancer %s is in pool %q already: list each port once", pool.Name, port, arn, other)
				}
				used[key] = pool.Name
			}
		}
	}
	return nil
}
