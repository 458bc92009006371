package lifecycle

import "github.com/VictoriaMetrics/metrics"

// counters count what an agent does.
type counters struct {
	binds      *metrics.Counter
	renewals   *metrics.Counter
	lost       *metrics.Counter
	collisions *metrics.Counter
	gameStops  *metrics.Counter
	bound      *metrics.Gauge
	gameUp     *metrics.Gauge
	reachable  *metrics.Gauge
	// passed and failed are the health checks of load balancers, by answer.
	passed, failed *metrics.Counter
}

func newCounters(set *metrics.Set) counters {
	return counters{
		binds:      set.NewCounter("portlease_agent_port_binds_total"),
		renewals:   set.NewCounter("portlease_agent_claim_renewals_total"),
		lost:       set.NewCounter("portlease_agent_claims_lost_total"),
		collisions: set.NewCounter("portlease_agent_collisions_total"),
		gameStops:  set.NewCounter("portlease_agent_game_stops_total"),
		bound:      set.NewGauge("portlease_agent_bound_ports", nil),
		gameUp:     set.NewGauge("portlease_agent_game_up", nil),
		reachable:  set.NewGauge("portlease_agent_reachable", nil),
		passed:     set.NewCounter(`portlease_agent_health_checks_total{answer="pass"}`),
		failed:     set.NewCounter(`portlease_agent_health_checks_total{answer="fail"}`),
	}
}
