package chart_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/portlease/portlease/deploy/tests/chart"
)

// alertRules is a Prometheus rule file.
type alertRules struct {
	Groups []struct {
		Name  string `json:"name"`
		Rules []struct {
			Alert       string            `json:"alert"`
			Expr        string            `json:"expr"`
			For         string            `json:"for"`
			Labels      map[string]string `json:"labels"`
			Annotations map[string]string `json:"annotations"`
		} `json:"rules"`
	} `json:"groups"`
}

const runbooks = "https://github.com/portlease/portlease/blob/main/docs/runbooks/"

// TestEveryAlertHasARunbook: meaning, three commands and remedies; and each runbook an alert.
func TestEveryAlertHasARunbook(t *testing.T) {
	text, err := os.ReadFile("../../chart/files/alerts.yaml")
	must(t, err)
	var rules alertRules
	must(t, yaml.UnmarshalStrict(text, &rules))
	operations, err := os.ReadFile("../../../docs/operations.md")
	must(t, err)
	var alerts []string
	for _, r := range rules.Groups[0].Rules {
		alerts = append(alerts, r.Alert+".md")
		if s := r.Labels["severity"]; s != "warning" && s != "critical" {
			t.Errorf("%s has severity %q", r.Alert, s)
		}
		if r.Annotations["summary"] == "" || r.Annotations["description"] == "" || r.Annotations["runbook_url"] != runbooks+r.Alert+".md" {
			t.Errorf("%s has the annotations %q", r.Alert, r.Annotations)
		}
		if !strings.Contains(string(operations), "`"+r.Alert+"`") {
			t.Errorf("docs/operations.md does not list %s", r.Alert)
		}
		metrics := regexp.MustCompile(`portlease_\w+`).FindAllString(r.Expr, -1)
		for _, metric := range metrics {
			if !regexp.MustCompile("(?m)^\\| `" + metric + "[`{]").Match(operations) {
				t.Errorf("%s asks for %s, which docs/operations.md does not list", r.Alert, metric)
			}
		}
		if len(metrics) == 0 {
			t.Errorf("%s asks for no metric of portlease", r.Alert)
		}
		page, err := os.ReadFile(filepath.Join("../../../docs/runbooks", r.Alert+".md"))
		must(t, err)
		title, rest, _ := strings.Cut(string(page), "\n\n")
		meaning, rest, looks := strings.Cut(rest, "\n## Look\n\n```\n")
		commands, remedies, ends := strings.Cut(rest, "\n```\n\n## Remedies\n\n")
		if title != "# "+r.Alert || len(meaning) < 50 || !looks || !ends || len(strings.Split(commands, "\n")) != 3 || len(remedies) < 50 {
			t.Errorf("the runbook of %s lacks a part", r.Alert)
		}
	}
	pages, err := os.ReadDir("../../../docs/runbooks")
	must(t, err)
	for _, page := range pages {
		if !slices.Contains(alerts, page.Name()) {
			t.Errorf("docs/runbooks/%s is about no alert", page.Name())
		}
	}
	if len(alerts) < 12 {
		t.Errorf("there are only the alerts %q", alerts)
	}
}

// Monitors and rules of the Prometheus operator are off unless somebody asks for them: their
// kinds may not exist.
func TestMonitoringIsOffByDefault(t *testing.T) {
	h := newHelm(t)
	plain, enabled := renderedKinds(t, h, "testdata/plain.values.yaml"), renderedKinds(t, h, "testdata/full.values.yaml")
	if n := strings.Count(strings.Join(enabled, " "), "ConfigMap") - strings.Count(strings.Join(plain, " "), "ConfigMap"); n != 1 {
		t.Errorf("enabling the dashboard adds %d ConfigMaps", n)
	}
	for _, kind := range []string{"ServiceMonitor", "PodMonitor", "PrometheusRule"} {
		if slices.Contains(plain, kind) {
			t.Errorf("the chart has a %s by default", kind)
		}
		if !slices.Contains(enabled, kind) {
			t.Errorf("the chart has no %s when it is enabled", kind)
		}
	}
}

func renderedKinds(t *testing.T, h *chart.Helm, values string) (kinds []string) {
	t.Helper()
	text, err := h.Render(t.Context(), values, flagsOf(t, values)...)
	must(t, err)
	for _, kind := range regexp.MustCompile(`(?m)^kind: (\w+)$`).FindAllStringSubmatch(string(text), -1) {
		kinds = append(kinds, kind[1])
	}
	return kinds
}
