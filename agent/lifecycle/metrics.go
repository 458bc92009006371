package lifecycle

import "github.com/VictoriaMetrics/metrics"

// counters count what an agent does.
type counters struct {
	binds      *metrics.Counter
	renewals   *metrics.Counter
	lost       *metrics.Counter
	collisions *metrics.Counter
	bound      *metrics.Gauge
}

func newCounters(set *metrics.Set) counters {
	return counters{
		binds:      set.NewCounter("portlease_agent_port_binds_total"),
		renewals:   set.NewCounter("portlease_agent_claim_renewals_total"),
		lost:       set.NewCounter("portlease_agent_claims_lost_total"),
		collisions: set.NewCounter("portlease_agent_collisions_total"),
		bound:      set.NewGauge("portlease_agent_bound_ports", nil),
	}
}
