package lifecycle

import (
	"errors"

	"github.com/VictoriaMetrics/metrics"

	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

// Metrics counts what an agent does, in a set of its own.
type Metrics struct {
	set       *metrics.Set
	binds     *metrics.Counter
	renewals  *metrics.Counter
	lost      *metrics.Counter
	conflicts *metrics.Counter
	bound     *metrics.Gauge
}

// NewMetrics registers in set.
func NewMetrics(set *metrics.Set) *Metrics {
	return &Metrics{
		set:       set,
		binds:     set.NewCounter("portlease_agent_binds_total"),
		renewals:  set.NewCounter("portlease_agent_renewals_total"),
		lost:      set.NewCounter("portlease_agent_lost_total"),
		conflicts: set.NewCounter("portlease_agent_collisions_total"),
		bound:     set.NewGauge("portlease_agent_bound", nil),
	}
}

func (m *Metrics) failed(err error) {
	m.set.GetOrCreateCounter(`portlease_agent_errors_total{class="` + class(err) + `"}`).Inc()
}

// classes name the errors of AWS; those of the allocator are named by their code.
var classes = []struct {
	err  error
	name string
}{
	{errForeign, "foreign"},
	{errAway, awayClass},
	{elb.ErrThrottled, "aws_throttled"},
	{elb.ErrDenied, "aws_denied"},
	{elb.ErrQuota, "aws_quota"},
	{elb.ErrRefused, "aws_refused"},
	{elb.ErrDifferent, "aws_different"},
	{elb.ErrListenerTaken, "aws_listener_taken"},
	{elb.ErrTargetGroupGone, "aws_gone"},
	{elb.ErrLoadBalancerGone, "aws_gone"},
	{elb.ErrListenerGone, "aws_gone"},
	{elb.ErrInUse, "aws_in_use"},
}

// class has a bounded set of values: a code that this agent does not know is
// "unknown_code".
func class(err error) string {
	if problem, ok := errors.AsType[*api.Problem](err); ok {
		if problem.Code.Status() == api.Internal.Status() && problem.Code != api.Internal {
			return "unknown_code"
		}
		return string(problem.Code)
	}
	for _, c := range classes {
		if errors.Is(err, c.err) {
			return c.name
		}
	}
	return "other"
}
