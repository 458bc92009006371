package poolfile

import "fmt"

const (
	// maxListeners is how many listeners a network load balancer may have. AWS does not
	// raise it (AWS, "Quotas for your Network Load Balancers").
	maxListeners = 50
	// wideFactor is how many times that many listener ports are far too many. Some more
	// than the limit are useful, because freed ports are in cooldown.
	wideFactor = 4
)

// wideRanges warns of pools that list far more listener ports than a load balancer may have
// listeners. Each port that was ever used keeps a port lease for a while, so a wide range
// makes the ledger large and gains nothing.
func wideRanges(pools []Pool) (warnings []string) {
	for _, p := range pools {
		ports := 0
		for _, r := range p.Ranges {
			ports += r.To - r.From + 1
		}
		if ports <= wideFactor*maxListeners {
			continue
		}
		of := "each load balancer"
		if n := len(p.LoadBalancers); n > 0 {
			of = fmt.Sprintf("each of %d load balancers, so %d ports for %d listeners", n, n*ports, n*maxListeners)
		}
		warnings = append(warnings, fmt.Sprintf("pool %q lists %d listener ports on %s: AWS allows %d listeners on a load balancer, and each port that was used keeps a Lease for a while; list about %d ports",
			p.Name, ports, of, maxListeners, 2*maxListeners))
	}
	return warnings
}
