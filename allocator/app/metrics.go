package app

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/portlease/portlease/allocator/inventory"
	"github.com/portlease/portlease/allocator/kubelease"
	"github.com/portlease/portlease/allocator/ledger"
)

// measure registers what is read from the ledger whenever metrics are asked for.
func (p *process) measure(leases *kubelease.Leases, stock *inventory.Inventory) {
	for _, state := range []ledger.PortState{ledger.Claimed, ledger.Bound, ledger.Releasing, ledger.Cooldown, ledger.Free} {
		p.metrics.NewGauge(fmt.Sprintf(`portlease_ports{state=%q}`, state), func() float64 {
			n := 0
			for _, r := range leases.Ports().View() {
				if r.Value.State == state {
					n++
				}
			}
			return float64(n)
		})
	}
	for _, state := range []ledger.ClaimState{ledger.Waiting, ledger.Granted, ledger.Ending} {
		p.metrics.NewGauge(fmt.Sprintf(`portlease_claims{state=%q}`, state), func() float64 {
			n := 0
			for _, r := range leases.Claims().View() {
				if r.Value.State == state {
					n++
				}
			}
			return float64(n)
		})
	}
	p.metrics.NewGauge(`portlease_load_balancers_left_out`, func() float64 { return float64(len(stock.Unfit())) })
}

// methods are those that the API knows.
var methods = []string{http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete}

// observe counts answers of the API.
func (p *process) observe(method, route string, status int, took time.Duration) {
	if !slices.Contains(methods, method) {
		method = "other" // anybody can make up any number of methods
	}
	p.metrics.GetOrCreateCounter(fmt.Sprintf(`portlease_http_requests_total{method=%q,route=%q,status="%d"}`, method, route, status)).Inc()
	p.metrics.GetOrCreateHistogram(fmt.Sprintf(`portlease_http_request_duration_seconds{method=%q,route=%q}`, method, route)).Update(took.Seconds())
}

// countJanitor counts what the janitor did and why.
func (p *process) countJanitor(action, reason string) {
	p.metrics.GetOrCreateCounter(fmt.Sprintf(`portlease_janitor_actions_total{action=%q,reason=%q}`, action, reason)).Inc()
}
