// Package metrics has the allocator's Prometheus metrics.
//
// Events are counted as they happen. Everything that the ledger knows is read from the
// cache with each scrape.
package metrics

import (
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/portlease/portlease/allocator/httpapi"
	"github.com/portlease/portlease/shared/daemon"
	"github.com/portlease/portlease/shared/elb"
)

const namespace = "portlease"

var (
	// durations are the buckets of request durations, in seconds. A request takes at most
	// 20 s.
	durations = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20}
	// starts are the buckets of the times that pods take to an endpoint: from a tenth of a
	// second to half an hour, which is a thousand pods at AWS's rate and longer.
	starts = []float64{.1, .25, .5, 1, 2.5, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800}
)

// Metrics are those of one allocator. Its methods may be called concurrently.
type Metrics struct {
	registry           *prometheus.Registry
	budgetRequests     *prometheus.CounterVec
	claims             *prometheus.CounterVec
	milestones         *prometheus.HistogramVec
	awsCalls           *prometheus.CounterVec
	awsCallDurations   *prometheus.HistogramVec
	leaseWrites        *prometheus.CounterVec
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
		claims: counters("claims_total",
			"Claims that were granted, were refused because the pool was exhausted or a quota was reached, or had to move because of a collision.", "pool", "result"),
		milestones: histograms("pod_start_duration_seconds",
			"Time from a pod's first request for a claim until it was granted, bound, announced and healthy, as its agent reports it.", starts, "pool", "milestone"),
		awsCalls: counters("aws_calls_total",
			"Requests to Elastic Load Balancing by this allocator. The code is that of AWS's error, empty if there is none.", "action", "code"),
		awsCallDurations: histograms("aws_call_duration_seconds", "Duration of requests to Elastic Load Balancing.", durations, "action"),
		leaseWrites: counters("lease_writes_total",
			"Writes of the ledger's Leases, by kind of record and result.", "kind", "result"),
		janitorActions: counters("janitor_actions_total",
			"Actions of the janitor, by reason.", "action", "reason"),
		requests: counters("http_requests_total",
			"Requests to the API. The code is that of the problem document, empty if there is none.", "method", "route", "status", "code"),
		requestDurations: histograms("http_request_duration_seconds", "Duration of requests to the API.", durations, "method", "route"),
		poolFileRefused: gauge("pool_file_refused",
			"1 while the pool file has an error and its previous version is in force."),
		outdatedNamespaces: gauge("trust_namespaces_outdated",
			"Namespaces whose ConfigMap with the CA certificates could not be updated."),
		closedConnections: counters("http_connections_closed_total",
			"Connections that were closed to make room for others, by the limit that was reached.", "limit"),
	}
	m.registry.MustRegister(m.budgetRequests, m.claims, m.milestones, m.awsCalls, m.awsCallDurations, m.leaseWrites, m.janitorActions, m.requests, m.requestDurations,
		m.poolFileRefused, m.outdatedNamespaces, m.closedConnections, buildVersion(),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func buildVersion() prometheus.Collector {
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: "build_info", Help: "1, with the version of the allocator and of Go."}, []string{"version", "goversion"})
	build.WithLabelValues(daemon.Version(), runtime.Version()).Set(1)
	return build
}

func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

func histograms(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets}, labels)
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

// Claim counts a claim by result.
func (m *Metrics) Claim(result, pool string) { m.claims.WithLabelValues(pool, result).Inc() }

// Milestone observes how long a pod took to one.
func (m *Metrics) Milestone(milestone, pool string, took time.Duration) {
	m.milestones.WithLabelValues(pool, milestone).Observe(took.Seconds())
}

// AWSCall counts a request to AWS.
func (m *Metrics) AWSCall(c elb.Call) {
	m.awsCalls.WithLabelValues(c.Action, c.Code).Inc()
	m.awsCallDurations.WithLabelValues(c.Action).Observe(c.Took.Seconds())
}

// LeaseWrite counts a write of a Lease.
func (m *Metrics) LeaseWrite(kind, result string) { m.leaseWrites.WithLabelValues(kind, result).Inc() }

// Cached registers how many Leases this replica has in its cache, by kind.
func (m *Metrics) Cached(kinds map[string]func() int) {
	for kind, count := range kinds {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: namespace, Name: "cached_leases", Help: "Leases that this replica has in its cache, by kind.", ConstLabels: prometheus.Labels{"kind": kind},
		}, func() float64 { return float64(count()) }))
	}
}

// Leader registers whether this replica leads.
func (m *Metrics) Leader(leads func() bool) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: namespace, Name: "leader", Help: "1 if this replica leads: its janitor works, and it serves the metrics of the ledger.",
	}, func() float64 {
		if leads() {
			return 1
		}
		return 0
	}))
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
