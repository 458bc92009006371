// Package recovery measures how soon everything works again after a failure, and what audits
// cost, which find what failures leave behind.
package recovery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portlease/portlease/e2e/kubeapi"
	"github.com/portlease/portlease/e2e/load/bench/report"
	"github.com/portlease/portlease/e2e/load/bench/site"
	"github.com/portlease/portlease/e2e/load/fleet"
	"github.com/portlease/portlease/e2e/load/scenario"
	"github.com/portlease/portlease/e2e/rig"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

// Config configures a measurement; all but AuditEvery is required.
type Config struct {
	Kube *kubeapi.API
	// Held is how many pods hold a port when their allocator is killed, and Restarts how often
	// that happens.
	Held, Restarts int
	// Audited is how many bindings there are when audits are measured; it is more than Held.
	// Audits is how many are measured, one every AuditEvery; 0 means the default.
	Audited, Audits int
	AuditEvery      time.Duration
	// Crashed is how many pods crash at once.
	Crashed int
	// Crash has that many pods crash; see fleet.MeasureCrash.
	Crash    func(ctx context.Context, pods int) (fleet.Crash, error)
	Progress io.Writer
	Say      func(format string, args ...any)
}

// Measure measures all of it.
func Measure(ctx context.Context, c Config) (t report.Table, err error) {
	t = report.Table{
		Name: "recovery",
		About: "an allocator is killed and started again: seconds until it answers a renewal, beside a bare list of all Leases; all pods of a fleet crash: seconds " +
			"until their ports are free and nothing is left in AWS, beside the claims' duration, the deletions that AWS allows, and its wait after a listener was deleted; " +
			"describe calls of one audit, beside one for each load balancer and each page of target groups",
		Columns: []report.Column{{Name: "measured"}, {Name: "at best"}, {Name: "÷", Target: "≤ 1.10 crashed"}, {Name: "throttled %"}},
	}
	rows, err := c.site(ctx)
	if err != nil {
		return t, err
	}
	crash, err := c.Crash(ctx, c.Crashed)
	t.Rows = append(rows, row(fmt.Sprintf("%d pods crash, s", c.Crashed), []float64{crash.Took.Seconds()}, []float64{crash.Least.Seconds()}, crash.Throttled))
	return t, err
}

func row(name string, measured, best []float64, throttled ...float64) report.Row {
	ratios := make([]float64, len(measured))
	for i := range measured {
		ratios[i] = measured[i] / best[min(i, len(best)-1)]
	}
	r := report.Row{Case: name, Figures: []report.Spread{report.Of(measured...), report.Of(best...), report.Of(ratios...), {}}}
	if len(throttled) > 0 {
		r.Figures[3] = report.Of(throttled...)
	}
	return r
}

// measurement is a running installation.
type measurement struct {
	Config
	*site.Site
	allocator *rig.Replica
}

// site measures what needs one allocator and no agents.
func (c Config) site(ctx context.Context) (rows []report.Row, err error) {
	loadBalancers := (c.Audited + site.PortsEach - 1) / site.PortsEach
	m := &measurement{Config: c}
	if m.Site, err = site.New(ctx, site.Config{Kube: c.Kube, Replicas: 1, LoadBalancers: loadBalancers, Budget: site.AWSBudget, AuditEvery: c.AuditEvery, Progress: c.Progress}); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.Close(context.WithoutCancel(ctx))) }()
	replicas, err := m.Serve(ctx, 1, loadBalancers)
	if err != nil {
		return nil, err
	}
	m.allocator = replicas[0]
	restarts, err := m.restarts(ctx)
	if err != nil {
		return nil, err
	}
	audits, err := m.audits(ctx, loadBalancers)
	return []report.Row{restarts, audits}, err
}

// hold makes so many more pods that hold a port.
func (m *measurement) hold(ctx context.Context, more int) ([]site.Held, error) {
	m.Say("recovery: making %d pods that hold a port", more)
	pods, err := m.MakePods(ctx, fmt.Sprintf("held-%d", m.Filled()), more)
	if err != nil {
		return nil, err
	}
	return m.Hold(ctx, pods)
}

// restarts kills the allocator and starts it again.
func (m *measurement) restarts(ctx context.Context) (r report.Row, err error) {
	held, err := m.hold(ctx, m.Held)
	if err != nil {
		return r, err
	}
	one := held[0]
	if err := m.NewTokens(ctx, []*site.Pod{one.Pod}); err != nil {
		return r, err
	}
	caller := m.NewCaller(0, m.allocator)
	defer caller.Close()
	var took, lists []float64
	for range m.Restarts {
		began := time.Now()
		if _, err := m.Objects.CoordinationV1().Leases(m.Namespace).List(ctx, metav1.ListOptions{}); err != nil {
			return r, fmt.Errorf("listing all Leases: %w", err)
		}
		lists = append(lists, time.Since(began).Seconds())
		m.Say("recovery: killing the allocator of %d pods", m.Held)
		if err := m.allocator.Kill(ctx); err != nil {
			return r, err
		}
		began = time.Now()
		if err := m.allocator.Start(ctx); err != nil {
			return r, err
		}
		if err := scenario.Poll(ctx, 5*time.Millisecond, func() error {
			answer, err := caller.Call(ctx, one.Pod, http.MethodPost, api.CallRenew, site.RenewalOf(one))
			if err == nil && !answer.OK() {
				err = fmt.Errorf("the allocator answers %d to a renewal: %s", answer.Status, answer.Body)
			}
			return err
		}); err != nil {
			return r, err
		}
		took = append(took, time.Since(began).Seconds())
	}
	return row(fmt.Sprintf("allocator of %d pods killed, s", m.Held), took, lists), nil
}

// audits counts the describe calls of audits.
func (m *measurement) audits(ctx context.Context, loadBalancers int) (r report.Row, err error) {
	if _, err := m.hold(ctx, m.Audited-m.Held); err != nil {
		return r, err
	}
	m.Say("recovery: measuring %d audits of %d bindings", m.Audits, m.Audited)
	// The first audit that is seen to begin may have other work before it.
	var calls []float64
	before, err := m.nextAudit(ctx)
	for range m.Audits {
		if err != nil {
			return r, err
		}
		var now int
		if now, err = m.nextAudit(ctx); err == nil {
			calls, before = append(calls, float64(now-before)), now
		}
	}
	best := loadBalancers + (m.Audited+elb.PageSize-1)/elb.PageSize
	return row(fmt.Sprintf("audit of %d bindings, calls", m.Audited), calls, []float64{float64(best)}), err
}

// nextAudit waits until an audit begins to list the target groups, and returns how many calls
// the allocator has made by then. The pages of one list come within a part of the time between
// two audits.
func (m *measurement) nextAudit(ctx context.Context) (calls int, err error) {
	const action = "DescribeTargetGroups"
	quiet := m.Rig.AuditEvery / 3
	last, since := m.Emulator.CallCounts()[action].Total, time.Now()
	patience, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	err = scenario.Poll(patience, 100*time.Millisecond, func() error {
		counts := m.Emulator.CallCounts()
		if now := counts[action].Total; now != last {
			began := time.Since(since) >= quiet
			last, since = now, time.Now()
			if began {
				calls = 0
				for _, c := range counts {
					calls += c.Total
				}
				return nil
			}
		}
		return errors.New("no audit has begun")
	})
	return calls, err
}
