package check_test

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"

	"github.com/portlease/portlease/allocator/app"
	"github.com/portlease/portlease/allocator/auth"
	"github.com/portlease/portlease/deploy/tests/chart"
)

// TestEachMissingRightIsReported in one row, which names what grants it.
func TestEachMissingRightIsReported(t *testing.T) {
	remedies := map[string]string{"configmaps": "in games grants it", "secrets": "tls.from as self grants it"}
	uses := map[string]string{"get namespaces": "ledger", "get secrets portlease-tls in own": "TLS key pair"}
	for _, right := range needed() {
		t.Run(right.String(), func(t *testing.T) {
			p := newPlace(t, right, nil)
			p.inSecret()
			rows, failed := p.check()
			if !failed {
				t.Error("it passed")
			}
			missing := "Kubernetes: " + p.in(right).String()
			found := false
			for _, r := range rows {
				if r.what == missing {
					found = r.state == "error" && strings.Contains(r.say, "helm upgrade") && strings.Contains(r.say, remedies[right.Resource])
				} else if strings.HasPrefix(r.what, "Kubernetes: ") && r.state != "ok" {
					t.Errorf("%+v", r)
				}
			}
			if !found {
				t.Errorf("no row says that %s is missing: %+v", missing, rows)
			}
			if what := uses[right.String()]; what != "" && !slices.ContainsFunc(rows, func(r row) bool {
				return r.state == "error" && r.what == what && strings.Contains(r.say, "forbidden")
			}) {
				t.Errorf("no row says that %s cannot be read: %+v", what, rows)
			}
		})
	}
}

// TestCheckedRightsAreThoseThatTheChartGrants takes the chart's own settings, and all
// roles that it binds to the allocator.
func TestCheckedRightsAreThoseThatTheChartGrants(t *testing.T) {
	for _, name := range []string{"plain", "full", "issuer", "secret"} {
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("../../deploy/tests/chart/testdata", name+".golden.yaml"))
			must(t, err)
			settings, err := chart.Settings(string(text))
			must(t, err)
			p := newPlace(t, auth.Right{}, nil)
			files := p.config
			p.config, err = app.Parse(nil, func(name string) string { return settings[name] }, io.Discard)
			must(t, err)
			p.config.PoolFile = files.PoolFile
			rows, _ := p.check()
			var asked []string
			for _, r := range rows {
				if right, is := strings.CutPrefix(r.what, "Kubernetes: "); is {
					asked = append(asked, right)
				}
			}
			granted := grantedRights(t, string(text))
			slices.Sort(asked)
			slices.Sort(granted)
			if !slices.Equal(granted, asked) {
				t.Errorf("granted are %q, asked for %q", granted, asked)
			}
		})
	}
}

// grantedRights are those of all roles that are bound to the allocator.
func grantedRights(t *testing.T, rendered string) (granted []string) {
	t.Helper()
	objects, err := chart.Objects(rendered)
	must(t, err)
	for _, o := range objects {
		if !strings.HasSuffix(o.Kind, "RoleBinding") {
			continue
		}
		var binding rbacv1.RoleBinding // a ClusterRoleBinding has the same fields
		must(t, yaml.Unmarshal([]byte(o.Text), &binding))
		if !slices.ContainsFunc(binding.Subjects, func(s rbacv1.Subject) bool { return s.Name == "portlease-allocator" }) {
			continue
		}
		at := slices.IndexFunc(objects, func(role chart.Object) bool {
			return role.Kind == binding.RoleRef.Kind && role.Name == binding.RoleRef.Name && (role.Kind == "ClusterRole" || role.Namespace == o.Namespace)
		})
		var role rbacv1.ClusterRole // a Role has the same rules
		must(t, yaml.Unmarshal([]byte(objects[at].Text), &role))
		for _, rule := range role.Rules {
			granted = append(granted, rightsOf(rule, o.Namespace)...)
		}
	}
	return granted
}

// rightsOf says each right of a rule as the table does.
func rightsOf(rule rbacv1.PolicyRule, namespace string) (rights []string) {
	names := rule.ResourceNames
	if len(names) == 0 {
		names = []string{""}
	}
	for _, group := range rule.APIGroups {
		for _, resource := range rule.Resources {
			for _, verb := range rule.Verbs {
				for _, name := range names {
					rights = append(rights, auth.Right{Verb: verb, Group: group, Resource: resource, Name: name, Namespace: namespace}.String())
				}
			}
		}
	}
	return rights
}
