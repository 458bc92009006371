package rules_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	module = "github.com/portlease/portlease"
	// root is the module's folder, seen from this one.
	root = "../.."
)

// rule says what some packages must not import, and why.
type rule struct {
	why string
	// of are the packages that the rule holds for; empty: all.
	of []string
	// except are the packages that may. Each must import what the rule forbids.
	except []string
	// never are the import paths that are not allowed.
	never []string
	// only, if given, are all that is allowed beside the standard library.
	only []string
	// directly checks only the imports of the package itself.
	directly bool
}

var rules = []rule{
	{
		why: "the binaries share nothing but shared/: each can be changed and shipped alone",
		of:  []string{"allocator/..."}, never: []string{module + "/agent/..."},
	},
	{
		why: "the binaries share nothing but shared/: each can be changed and shipped alone",
		of:  []string{"agent/..."}, never: []string{module + "/allocator/..."},
	},
	{
		why: "what both binaries use must know neither",
		of:  []string{"shared/..."}, never: []string{module + "/allocator/...", module + "/agent/..."},
	},
	{
		why: "emulators and rigs are for tests; shipped code must not depend on them",
		of:  []string{"allocator/...", "agent/...", "shared/...", "examples/..."}, never: []string{module + "/e2e/..."},
	},
	{
		why: "the OpenAPI document is held against answers by tests; nobody ships a validator of schemas",
		of:  []string{"allocator/...", "agent/...", "shared/...", "examples/..."}, except: []string{"shared/api/contract"}, never: []string{"github.com/santhosh-tekuri/jsonschema/v6/..."},
	},
	{
		why:    "HTTP has one door, so that routing and its errors are in one place",
		except: []string{"allocator/httpapi"}, never: []string{"github.com/labstack/echo/v4/..."}, directly: true,
	},
	{
		why:    "Kubernetes has one door on each side, the allocator's app builds the clients, main bridges klog: nobody else sees its types",
		except: []string{"allocator", "allocator/app", "allocator/auth", "allocator/kubelease", "allocator/kubepod", "allocator/certs/kubecerts", "agent", "agent/ownpod", "e2e/...", "deploy/..."},
		never:  []string{"k8s.io/..."}, directly: true,
	},
	{
		why:    "metrics have one door, so that their names and labels are in one place",
		except: []string{"allocator/metrics"}, never: []string{"github.com/prometheus/client_golang/..."}, directly: true,
	},
	{
		why:    "YAML is what people write: it is read in one place",
		except: []string{"allocator/poolfile"}, never: []string{"sigs.k8s.io/yaml/..."}, directly: true,
	},
	{
		why:    "AWS has one door, and app builds its configuration: nobody else sees the SDK's types",
		except: []string{"shared/elb", "allocator/app", "agent/app", "e2e/..."}, never: []string{"github.com/aws/..."}, directly: true,
	},
	{
		why:  "what decides is pure: it must be readable, testable and right without any outside world",
		of:   []string{"allocator/pool", "allocator/ledger", "allocator/claim", "allocator/pacer", "shared/api"},
		only: []string{module + "/allocator/pool", module + "/allocator/ledger", module + "/allocator/claim", module + "/allocator/budget", module + "/shared/api"},
	},
	{
		why:  "who may call AWS is decided by arithmetic alone: it knows neither the ledger nor the wire",
		of:   []string{"allocator/budget"},
		only: []string{},
	},
	{
		why:  "when certificates are renewed and which CAs callers trust must be right for years that no test waits for: it is decided by given clocks alone",
		of:   []string{"allocator/certs/pki"},
		only: []string{},
	},
	{
		why: "deciding who may have a port and pacing the calls that follow are wired together by app, not by each other",
		of:  []string{"allocator/claim"}, never: []string{module + "/allocator/pacer"},
	},
	{
		why:   "the agent is paid for once per pod: a typed clientset alone would double its memory, and client-go's REST client and kubeconfigs are a fifth of its binary",
		of:    []string{"agent/..."},
		never: []string{"k8s.io/client-go/kubernetes/...", "k8s.io/client-go/informers/...", "k8s.io/client-go/rest/...", "k8s.io/client-go/tools/clientcmd/...", "k8s.io/api/...", "github.com/prometheus/client_golang/..."},
	},
	{
		why: "the agent's calls go one way, from the lifecycle to the packages that act: none of them knows it or another of them",
		of:  []string{"agent/binder"}, never: []string{module + "/agent/lifecycle", module + "/agent/reporter", module + "/agent/health"},
	},
	{
		why: "the agent's calls go one way, from the lifecycle to the packages that act: none of them knows it or another of them",
		of:  []string{"agent/reporter", "agent/ownpod", "agent/announce"}, never: []string{module + "/agent/lifecycle", module + "/agent/binder", module + "/agent/health"},
	},
	{
		why:  "what the agent knows and decides about its pod is pure: a test gives it the time and the facts",
		of:   []string{"agent/clock", "agent/health", "agent/holding", "agent/pod", "agent/signals"},
		only: []string{module + "/agent/clock", module + "/agent/holding", module + "/agent/pod", module + "/shared/api"},
	},
	{
		why: "the client of our API goes into the agent and into other programs: it must stay light",
		of:  []string{"shared/api/client", "shared/daemon"}, never: []string{"k8s.io/...", "github.com/aws/..."},
	},
}

// breaches lists the violations of a rule, and patterns that match nothing, because a
// rule with a typo would never find a violation.
func (r rule) breaches(g graph) []string {
	var found []string
	for _, pattern := range slices.Concat(r.of, r.except) {
		if len(g.under(pattern)) == 0 {
			found = append(found, "there is no package "+pattern)
		}
	}
	for _, pattern := range slices.Concat(r.never, r.only) {
		if !g.imported(pattern) {
			found = append(found, "nobody imports "+pattern)
		}
	}
	of := r.of
	if len(of) == 0 {
		of = []string{"..."}
	}
	doors := g.under(r.except...)
	for _, p := range g.under(of...) {
		if slices.Contains(doors, p) {
			continue
		}
		for _, imported := range r.looksAt(g, p) {
			if r.forbids(imported) {
				found = append(found, fmt.Sprintf("%s must not import %s", p, imported))
			}
		}
	}
	for _, door := range r.except {
		if !slices.ContainsFunc(g.under(door), func(p string) bool { return slices.ContainsFunc(r.looksAt(g, p), r.forbids) }) {
			found = append(found, door+" is a door that nobody goes through")
		}
	}
	return found
}

func (r rule) looksAt(g graph, p string) []string {
	if r.directly {
		return g.direct[p]
	}
	return g.all[p]
}

func (r rule) forbids(path string) bool {
	if slices.ContainsFunc(r.never, func(pattern string) bool { return matches(pattern, path) }) {
		return true
	}
	if r.only == nil || slices.Contains(r.only, path) {
		return false
	}
	first, _, _ := strings.Cut(path, "/")
	return strings.Contains(first, ".") // what is not the standard library's has a host
}

func TestImports(t *testing.T) {
	g := readGraph(t)
	for _, r := range rules {
		for _, breach := range r.breaches(g) {
			t.Errorf("%s: %s", breach, r.why)
		}
	}
}

// TestEveryImportRuleFindsAViolation breaks each rule on purpose: with one more import,
// and with a typo in each of its patterns.
func TestEveryImportRuleFindsAViolation(t *testing.T) {
	g := readGraph(t)
	for _, r := range rules {
		for _, p := range g.under(append(slices.Clone(r.of), "shared/daemon")[0]) {
			for _, never := range append(slices.Clone(r.never), "example.com/...") {
				if never == "example.com/..." && r.only == nil {
					continue
				}
				path := strings.TrimSuffix(never, "/...")
				broken := graph{clone(g.direct), clone(g.all)}
				broken.direct[p], broken.all[p] = append(broken.direct[p], path), append(broken.all[p], path)
				if !slices.Contains(r.breaches(broken), p+" must not import "+path) {
					t.Errorf("%s may import %s although %s", p, path, r.why)
				}
			}
		}
		for _, names := range []func(*rule) *[]string{
			func(r *rule) *[]string { return &r.of }, func(r *rule) *[]string { return &r.except },
			func(r *rule) *[]string { return &r.never }, func(r *rule) *[]string { return &r.only },
		} {
			for i := range *names(&r) {
				mistyped := r
				list := slices.Clone(*names(&r))
				list[i] = strings.Replace(list[i], "/", "x/", 1)
				if !strings.Contains(list[i], "/") {
					list[i] += "x"
				}
				*names(&mistyped) = list
				if len(mistyped.breaches(g)) == 0 {
					t.Errorf("nobody notices the typo %s in the rule that %s", list[i], r.why)
				}
			}
		}
	}
}

// TestJanitorPlanImportsOnlyTheLedger is the rule of one file: the janitor's plan needs
// only the ledger's records, though the janitor calls AWS.
func TestJanitorPlanImportsOnlyTheLedger(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, "allocator/janitor/plan.go"), nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	pure := rule{only: []string{module + "/allocator/ledger"}}
	ledger := false
	for _, i := range file.Imports {
		path, err := strconv.Unquote(i.Path.Value)
		if err != nil || pure.forbids(path) {
			t.Errorf("the plan must not import %s, %v", path, err)
		}
		ledger = ledger || path == pure.only[0]
	}
	if !ledger {
		t.Error("the plan is not there any more")
	}
}
