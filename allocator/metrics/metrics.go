// Package metrics has the allocator's Prometheus metrics.
//
// Events are counted as they happen. Everything that the ledger knows is read from the
// cache with each scrape.
package metrics

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/portlease/portlease/allocator/httpapi"
)

const namespace = "portlease"

// durations are the buckets of request durations, in seconds. A request takes at most
// 20 s.
var durations = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20}

// Metrics are those of one allocator. Its methods may be called concurrently.
type Metrics struct {
	registry           *prometheus.Registry
	budgetRequests     *prometheus.CounterVec
	refusedClaims      *prometheus.CounterVec
	janitorActions     *prometheus.CounterVec
	requests           *prometheus.CounterVec
	requestDurations   *prometheus.HistogramVec
	poolFileRefused    prometheus.Gauge
	outdatedNamespaces prometheus.Gauge
	closedConnections  *prometheus.CounterVec
}

// New registers all metrics that need neither the ledger nor a certificate.
func New() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		budgetRequests: counters("aws_budget_requests_total",
			"Requests to the AWS budget and reports of throttling, by class of call and outcome.", "class", "outcome"),
		refusedClaims: counters("claims_refused_total",
			"Claims that were refused because the pool was exhausted or a quota was reached, or had to move because of a collision.", "reason", "pool"),
		janitorActions: counters("janitor_actions_total",
			"Actions of the janitor, by reason.", "action", "reason"),
		requests: counters("http_requests_total",
			"Requests to the API. The code is that of the problem document, empty if there is none.", "method", "route", "status", "code"),
		requestDurations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "http_request_duration_seconds", Help: "Duration of requests to the API.", Buckets: durations,
		}, []string{"method", "route"}),
		poolFileRefused: gauge("pool_file_refused",
			"1 while the pool file has an error and its previous version is in force."),
		outdatedNamespaces: gauge("trust_namespaces_outdated",
			"Namespaces whose ConfigMap with the CA certificates could not be updated."),
		closedConnections: counters("http_connections_closed_total",
			"Connections that were closed to make room for others, by the limit that was reached.", "limit"),
	}
	m.registry.MustRegister(m.budgetRequests, m.refusedClaims, m.janitorActions, m.requests, m.requestDurations, m.poolFileRefused, m.outdatedNamespaces, m.closedConnections,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

func gauge(name, help string) prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help})
}

// Handler serves the metrics in the Prometheus text format.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{DisableCompression: true})
}

// BudgetRequest counts a request to the AWS budget.
func (m *Metrics) BudgetRequest(class, outcome string) {
	m.budgetRequests.WithLabelValues(class, outcome).Inc()
}

// ClaimRefused counts a claim that was told to wait or to move.
func (m *Metrics) ClaimRefused(reason, pool string) {
	m.refusedClaims.WithLabelValues(reason, pool).Inc()
}

// JanitorAction counts an action of the janitor.
func (m *Metrics) JanitorAction(action, reason string) {
	m.janitorActions.WithLabelValues(action, reason).Inc()
}

// methods are those of the API. Callers can make up others, which must not become
// labels.
var methods = []string{http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete}

// Request counts an answer of the API.
func (m *Metrics) Request(a httpapi.Answer) {
	method := a.Method
	if !slices.Contains(methods, method) {
		method = "other"
	}
	m.requests.WithLabelValues(method, a.Route, strconv.Itoa(a.Status), string(a.Code)).Inc()
	m.requestDurations.WithLabelValues(method, a.Route).Observe(a.Took.Seconds())
}

// PoolFileRefused sets whether the pool file has an error.
func (m *Metrics) PoolFileRefused(refused bool) {
	value := 0.0
	if refused {
		value = 1
	}
	m.poolFileRefused.Set(value)
}

// OutdatedNamespaces sets how many namespaces lack the current trust bundle.
func (m *Metrics) OutdatedNamespaces(n int) { m.outdatedNamespaces.Set(float64(n)) }

// ConnectionClosed counts a connection that was closed because a limit was reached.
func (m *Metrics) ConnectionClosed(limit string) { m.closedConnections.WithLabelValues(limit).Inc() }

// Connections registers how many connections are open.
func (m *Metrics) Connections(count func() int) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: namespace, Name: "http_connections", Help: "Open connections of callers.",
	}, func() float64 { return float64(count()) }))
}

// Certificate registers when the serving certificate expires.
func (m *Metrics) Certificate(notAfter func() time.Time) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: namespace, Name: "certificate_expiry_timestamp_seconds", Help: "When the serving certificate expires, in Unix time.",
	}, func() float64 { return float64(notAfter().Unix()) }))
}
