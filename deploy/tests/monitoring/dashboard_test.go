package monitoring_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql/promqltest"
)

// dashboard has the parts of Grafana's dashboard that are tested.
type dashboard struct {
	UID    string
	Panels []struct {
		Title   string
		Type    string
		Targets []struct{ Expr string }
	}
}

// TestEveryQueryOfTheDashboardReturnsSamples evaluates them on an installation that has every
// documented metric with every documented label.
func TestEveryQueryOfTheDashboardReturnsSamples(t *testing.T) {
	text, err := os.ReadFile("../../chart/files/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	operations, err := os.ReadFile("../../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	storage := promqltest.LoadedStorage(t, documented(string(operations)))
	engine := promqltest.NewTestEngine(t, false, 5*time.Minute, 1e6)
	queries := 0
	for _, panel := range d.Panels {
		if panel.Type != "row" && len(panel.Targets) == 0 {
			t.Errorf("panel %q has no query", panel.Title)
		}
		for _, target := range panel.Targets {
			queries++
			expr := strings.NewReplacer("$__rate_interval", "5m", "$namespace", ".+").Replace(target.Expr)
			query, err := engine.NewInstantQuery(t.Context(), storage, nil, expr, time.Unix(1800, 0))
			if err != nil {
				t.Errorf("panel %q: %v", panel.Title, err)
				continue
			}
			result := query.Exec(t.Context())
			if vector, err := result.Vector(); err != nil || len(vector) == 0 {
				t.Errorf("panel %q: %s returns %v, %v", panel.Title, expr, vector, err)
			}
			query.Close()
		}
	}
	if queries < 30 {
		t.Errorf("the dashboard has only %d queries", queries)
	}
}

// values are those of labels for which a query asks.
var values = map[string]string{"reason": "port", "health": "unhealthy", "state": "bound", "code": "Throttling"}

// documented are series of all metrics that the page lists, as Prometheus' test storage
// loads them.
func documented(page string) string {
	var load strings.Builder
	load.WriteString("load 1m\n")
	for _, m := range regexp.MustCompile("(?m)^\\| `(portlease_[a-z_]+)(?:\\{([a-z_,]+)\\})?` \\|").FindAllStringSubmatch(page, -1) {
		name, labels := m[1], `namespace="portlease",pod="portlease-allocator-0"`
		for _, label := range strings.FieldsFunc(m[2], func(r rune) bool { return r == ',' }) {
			value := values[label]
			if value == "" {
				value = "some"
			}
			labels += fmt.Sprintf(",%s=%q", label, value)
		}
		if strings.HasSuffix(name, "_duration_seconds") {
			for _, le := range []string{"1", "+Inf"} {
				fmt.Fprintf(&load, "  %s_bucket{%s,le=%q} 0+1x30\n", name, labels, le)
			}
			continue
		}
		fmt.Fprintf(&load, "  %s{%s} 0+1x30\n", name, labels)
	}
	for _, name := range []string{"process_cpu_seconds_total", "process_resident_memory_bytes"} {
		fmt.Fprintf(&load, "  %s{namespace=\"portlease\",pod=\"portlease-allocator-0\"} 0+1x30\n", name)
	}
	return load.String()
}
