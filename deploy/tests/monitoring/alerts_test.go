// Package monitoring_test evaluates the chart's alerts and its dashboard with Prometheus' own code. It is a module
// of its own, so that nobody else depends on Prometheus.
package monitoring_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/rules"
)

const file = "../../chart/files/alerts.yaml"

// quiet is an installation without any trouble, in Prometheus' notation for series: one value
// a minute.
var quiet = map[string]string{
	`portlease_pool_ports_available{pool="default"}`:                                          "40x90",
	`portlease_pool_ports{pool="default"}`:                                                    "50x90",
	`portlease_claims_waiting{pool="default",reason="port"}`:                                  "0x90",
	`portlease_claims_waiting_oldest_seconds{pool="default"}`:                                 "0x90",
	`portlease_targets{health="healthy"}`:                                                     "10x90",
	`portlease_targets{health="initial: Elb.RegistrationInProgress"}`:                         "2x90",
	`portlease_aws_budget_speed_ratio`:                                                        "1x90",
	`portlease_foreign_listeners{pool="default"}`:                                             "0x90",
	`portlease_janitor_actions_total{action="delete target group",reason="orphan: unlisted"}`: "0+0.05x90",
	`portlease_janitor_actions_total{action="warn",reason="live pod does not renew"}`:         "0x90",
	`portlease_janitor_actions_total{action="reclaim",reason="pod gone and claim expired"}`:   "0+1x90",
	`portlease_janitor_last_audit_timestamp_seconds`:                                          "0+60x90",
	`portlease_janitor_last_sweep_timestamp_seconds`:                                          "0+60x90",
	`portlease_leader{pod="a"}`:                                                               "1x90",
	`portlease_leader{pod="b"}`:                                                               "0x90",
	`portlease_certificate_expiry_timestamp_seconds`:                                          "2592000x90",
	`portlease_pool_file_refused`:                                                             "0x90",
	`portlease_trust_namespaces_outdated`:                                                     "0x90",
	`portlease_aws_target_groups`:                                                             "2000x90",
	`portlease_aws_target_group_limit`:                                                        "3000x90",
}

// TestEachAlertFiresInItsTroubleAndNoOther changes a series or two of the quiet installation.
func TestEachAlertFiresInItsTroubleAndNoOther(t *testing.T) {
	known := make(map[string]bool)
	for _, trouble := range []struct {
		name    string
		changed map[string]string
		fires   []string
	}{
		{"quiet", nil, nil},
		{"few ports are left", map[string]string{`portlease_pool_ports_available{pool="default"}`: "4x90"}, []string{"PortleasePoolNearlyExhausted"}},
		{"no ports will be left in four hours", map[string]string{`portlease_pool_ports_available{pool="default"}`: "50-0.3x90"}, []string{"PortleasePoolNearlyExhausted"}},
		{"no port is left", map[string]string{`portlease_pool_ports_available{pool="default"}`: "0x90", `portlease_claims_waiting{pool="default",reason="port"}`: "3x90"},
			[]string{"PortleasePoolExhausted", "PortleasePoolNearlyExhausted"}},
		{"a pod waits long", map[string]string{`portlease_claims_waiting_oldest_seconds{pool="default"}`: "0+60x90"}, []string{"PortleasePodsWaitLong"}},
		{"pods wait for calls to AWS", map[string]string{`portlease_claims_waiting{pool="default",reason="aws"}`: "300x90", `portlease_claims_waiting_oldest_seconds{pool="default"}`: "200x90"}, nil},
		{"targets are unhealthy", map[string]string{`portlease_targets{health="unhealthy: Target.FailedHealthChecks"}`: "2x90"}, []string{"PortleaseTargetsUnhealthy"}},
		{"targets are not used", map[string]string{`portlease_targets{health="unused: Target.NotInUse"}`: "2x90"}, []string{"PortleaseTargetsUnhealthy"}},
		{"AWS throttles", map[string]string{`portlease_aws_budget_speed_ratio`: "0.25x90"}, []string{"PortleaseBudgetThrottled"}},
		{"AWS throttled for some minutes", map[string]string{`portlease_aws_budget_speed_ratio`: "1x70 0.25x5 1x10"}, nil},
		{"foreign listeners", map[string]string{`portlease_foreign_listeners{pool="default"}`: "1x90"}, []string{"PortleaseForeignListeners"}},
		{"many orphans", map[string]string{`portlease_janitor_actions_total{action="delete target group",reason="orphan: unlisted"}`: "0+1x90"}, []string{"PortleaseOrphansGrowing"}},
		{"audits fail", map[string]string{`portlease_janitor_last_audit_timestamp_seconds`: "60x90"}, []string{"PortleaseJanitorStopped"}},
		{"sweeps fail", map[string]string{`portlease_janitor_last_sweep_timestamp_seconds`: "60x90"}, []string{"PortleaseJanitorStopped"}},
		{"nobody leads", map[string]string{`portlease_leader{pod="a"}`: "0x90"}, []string{"PortleaseJanitorStopped"}},
		{"the leader changes", map[string]string{`portlease_leader{pod="a"}`: "1x70 0x20", `portlease_leader{pod="b"}`: "0x71 1x19"}, nil},
		{"agents do not renew", map[string]string{`portlease_janitor_actions_total{action="warn",reason="live pod does not renew"}`: "0+1x90"}, []string{"PortleaseAgentsNotRenewing"}},
		{"the certificate ends", map[string]string{`portlease_certificate_expiry_timestamp_seconds`: "604800x90"}, []string{"PortleaseCertificateEnding"}},
		{"the pool file is refused", map[string]string{`portlease_pool_file_refused`: "1x90"}, []string{"PortleasePoolFileRefused"}},
		{"a load balancer is gone", map[string]string{`portlease_load_balancers_left_out{pool="default",reason="gone"}`: "1x90"}, []string{"PortleaseLoadBalancerLeftOut"}},
		{"a namespace has no certificate", map[string]string{`portlease_trust_namespaces_outdated`: "1x90"}, []string{"PortleaseTrustOutdated"}},
		{"nearly all target groups are used", map[string]string{`portlease_aws_target_groups`: "2800x90"}, []string{"PortleaseQuotaNear"}},
	} {
		t.Run(trouble.name, func(t *testing.T) {
			series := maps.Clone(quiet)
			maps.Copy(series, trouble.changed)
			if fires := firing(t, series, known); !slices.Equal(fires, trouble.fires) {
				t.Errorf("firing: %q, want %q", fires, trouble.fires)
			}
		})
	}
	t.Run("no allocator", func(t *testing.T) {
		if fires := firing(t, nil, known); !slices.Equal(fires, []string{"PortleaseAllocatorDown"}) {
			t.Errorf("firing: %q", fires)
		}
	})
	for alert, fired := range known {
		if !fired {
			t.Errorf("no trouble fires %s", alert)
		}
	}
}

// firing evaluates the rules each minute for 75 minutes, and gives what fires then. It notes
// in known which alerts there are, and which have fired.
func firing(t *testing.T, series map[string]string, known map[string]bool) (fires []string) {
	t.Helper()
	var load strings.Builder
	load.WriteString("load 1m\n")
	for name, values := range series {
		fmt.Fprintf(&load, "  %s %s\n", name, values)
	}
	storage := promqltest.LoadedStorage(t, load.String())
	engine := promqltest.NewTestEngine(t, false, 5*time.Minute, 1e6)
	manager := rules.NewManager(&rules.ManagerOptions{
		QueryFunc: rules.EngineQueryFunc(engine, storage), AppendableV2: storage, Queryable: storage, Context: t.Context(),
		NotifyFunc: func(_ context.Context, _ string, _ ...*rules.Alert) {},
	})
	groups, errs := manager.LoadGroups(time.Minute, labels.EmptyLabels(), "", nil, false, file)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	for _, group := range groups {
		for at := time.Unix(0, 0); !at.After(time.Unix(75*60, 0)); at = at.Add(time.Minute) {
			group.Eval(t.Context(), at)
		}
		for _, rule := range group.AlertingRules() {
			if rule.LastError() != nil {
				t.Errorf("%s: %v", rule.Name(), rule.LastError())
			}
			known[rule.Name()] = known[rule.Name()]
			for _, alert := range rule.ActiveAlerts() {
				if alert.State == rules.StateFiring {
					known[rule.Name()] = true
					fires = append(fires, rule.Name())
				}
			}
		}
	}
	slices.Sort(fires)
	return slices.Compact(fires)
}
