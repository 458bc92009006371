// Package setup tests deploy/iam/setup.sh with a stand-in for the aws command. It has
// only tests.
package setup_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/portlease/portlease/e2e/elbemu/iam"
)

func TestMain(m *testing.M) {
	if name := standInName(); name == "aws" || name == "kubectl" {
		os.Exit(standIn(name, os.Args[1:]))
	}
	os.Exit(m.Run())
}

const (
	ledger   = "5211ad57-62a7-45dc-a92d-fbf5a438629d/portlease"
	balancer = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:loadbalancer/net/games-1/0123456789abcdef"
)

// scriptEnv is the environment in which a test runs the script.
type scriptEnv struct {
	t    *testing.T
	path string // file of the stand-in's state
	bin  string
}

func newScriptEnv(t *testing.T) scriptEnv {
	t.Helper()
	d := scriptEnv{t, filepath.Join(t.TempDir(), "account.json"), t.TempDir()}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"aws", "kubectl"} {
		if err := os.Symlink(self, filepath.Join(d.bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	account{Roles: map[string]role{}, Associations: map[string]association{}, Providers: map[string]bool{}, Tags: map[string]string{}, Addon: true}.write(d.path)
	return d
}

// run runs the script and gives its output and exit code.
func (d scriptEnv) run(args ...string) (says string, code int) {
	d.t.Helper()
	cmd := exec.CommandContext(d.t.Context(), "bash", append([]string{"../../../deploy/iam/setup.sh"}, args...)...)
	cmd.Env = []string{"PATH=" + d.bin + ":/usr/bin:/bin", stateVariable + "=" + d.path}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return out.String(), exit.ExitCode()
	} else if err != nil {
		d.t.Fatal(err)
	}
	return out.String(), 0
}

// must is run for arguments that must succeed.
func (d scriptEnv) must(args ...string) (says string, after account) {
	d.t.Helper()
	says, code := d.run(args...)
	if code != 0 {
		d.t.Fatalf("exit code %d: %s", code, says)
	}
	return says, readAccount(d.path)
}

// changes gives those of the commands that change something.
func changes(calls []string) (all []string) {
	for _, call := range calls {
		if !regexp.MustCompile(`^(kubectl|aws (sts|eks|iam) (get|list|describe)-)`).MatchString(call) {
			all = append(all, call)
		}
	}
	return all
}

// same compares two states without the commands that led to them.
func same(a, b account) bool {
	a.Calls, b.Calls = nil, nil
	return reflect.DeepEqual(a, b)
}

var kinds = map[string][]string{
	"pod-identity": {"--cluster", "one", "--load-balancer", balancer, "--games", "games:game", "--games", "lobby:game-1.x"},
	"irsa":         {"--cluster", "one", "--load-balancer", balancer, "--games", "games:game", "--games", "lobby:game-1.x", "--identity", "irsa"},
}

// TestApplyAndUndo checks that a dry run changes nothing and prints the commands of a
// real run. A second real run changes nothing, and an undo leaves nothing behind.
func TestApplyAndUndo(t *testing.T) {
	for kind, args := range kinds {
		t.Run(kind, func(t *testing.T) {
			d := newScriptEnv(t)
			empty := readAccount(d.path)
			says, after := d.must(args...)
			if !same(after, empty) || len(changes(after.Calls)) > 0 {
				t.Fatalf("a dry run made %v", changes(after.Calls))
			}
			if !strings.Contains(says, "nothing was changed") || !strings.Contains(says, "ledger "+ledger) {
				t.Errorf("it says %s", says)
			}

			applied := append(slices.Clone(args), "--apply")
			told, made := d.must(applied...)
			holds(t, kind, made)
			for _, call := range made.Calls {
				if strings.HasPrefix(call, "aws ") && !strings.Contains(strings.ReplaceAll(told, "'", ""), strings.ReplaceAll(call, "'", "")) {
					t.Errorf("it does not print %s", call)
				}
			}
			for line := range strings.Lines(told) {
				if !strings.HasPrefix(line, " aws ") || strings.Contains(line, "update-") {
					continue
				}
				if !strings.Contains(says, line) {
					t.Errorf("the dry run does not print %s", line)
				}
			}
			_, again := d.must(applied...)
			if !same(again, made) {
				t.Errorf("running it again made %+v of %+v", again, made)
			}
			_, undone := d.must(append(slices.Clone(args), "--undo")...)
			if !same(undone, again) {
				t.Error("undoing without --apply changed something")
			}
			_, undone = d.must(append(slices.Clone(applied), "--undo")...)
			undone.Providers = map[string]bool{} // others may use the provider
			if !same(undone, empty) {
				t.Errorf("left are %+v", undone)
			}
			if _, twice := d.must(append(slices.Clone(applied), "--undo")...); len(twice.Roles) > 0 {
				t.Errorf("undone twice there are %+v", twice)
			}
		})
	}
}

// holds checks the roles, policies and associations that the script created.
func holds(t *testing.T, kind string, a account) {
	t.Helper()
	if got := a.Tags[balancer]; got != "Key=portlease.dev/ledger,Value="+ledger {
		t.Errorf("the load balancer has %q", got)
	}
	placeholder := regexp.MustCompile(`<[a-z-]+>`)
	for name, want := range map[string]struct{ namespace, account, policy string }{
		"portlease-one-allocator":            {"portlease", "portlease-allocator", "DeleteOwn"},
		"portlease-one-agent-games-game":     {"games", "game", "CreateTargetGroup"},
		"portlease-one-agent-lobby-game-1.x": {"lobby", "game-1.x", "CreateTargetGroup"},
	} {
		r, exists := a.Roles[name]
		if !exists || len(r.Policies) != 1 {
			t.Fatalf("the roles are %+v", a.Roles)
		}
		if _, err := iam.Parse([]byte(r.Policies["portlease"])); err != nil || !strings.Contains(r.Policies["portlease"], want.policy) || !strings.Contains(r.Policies["portlease"], ledger) {
			t.Errorf("%s has %s: %v", name, r.Policies["portlease"], err)
		}
		if strings.Contains(r.Policies["portlease"], "aws:PrincipalTag") != (kind == "pod-identity" && want.policy != "DeleteOwn") {
			t.Errorf("%s of %s has %s", name, kind, r.Policies["portlease"])
		}
		var trust struct{ Statement []map[string]any }
		if err := json.Unmarshal([]byte(r.Trust), &trust); err != nil || placeholder.MatchString(r.Trust) {
			t.Errorf("%s is trusted by %s: %v", name, r.Trust, err)
		}
		if !strings.Contains(r.Trust, want.namespace) || !strings.Contains(r.Trust, want.account) {
			t.Errorf("%s is trusted by %s", name, r.Trust)
		}
		associated := false
		for _, as := range a.Associations {
			associated = associated || as == association{want.namespace, want.account, "arn:aws:iam::123456789012:role/" + name}
		}
		if associated != (kind == "pod-identity") {
			t.Errorf("%s: the associations are %+v", name, a.Associations)
		}
	}
	if a.Providers["arn:aws:iam::123456789012:oidc-provider/oidc.eks.eu-central-1.amazonaws.com/id/0123"] != (kind == "irsa") {
		t.Errorf("the providers are %v", a.Providers)
	}
}

// TestSourceVPC adds the policy about the VPC to every role, removes it when the script
// runs without the option, and removes it with an undo.
func TestSourceVPC(t *testing.T) {
	d := newScriptEnv(t)
	args := append(slices.Clone(kinds["pod-identity"]), "--apply")
	inVPC := append(slices.Clone(args), "--source-vpc", "vpc-0123456789abcdef0")
	_, open := d.must(args...)
	_, restricted := d.must(inVPC...)
	for name, r := range restricted.Roles {
		policy := r.Policies["portlease-source-vpc"]
		if _, err := iam.Parse([]byte(policy)); err != nil || !strings.Contains(policy, `"vpc-0123456789abcdef0"`) || len(r.Policies) != 2 {
			t.Errorf("%s has %v: %v", name, r.Policies, err)
		}
	}
	if _, again := d.must(inVPC...); !same(again, restricted) {
		t.Errorf("running it again made %+v of %+v", again, restricted)
	}
	if _, opened := d.must(args...); !same(opened, open) {
		t.Errorf("without the option it is %+v and was %+v", opened, open)
	}
	d.must(inVPC...)
	if _, undone := d.must(append(slices.Clone(args), "--undo")...); len(undone.Roles) > 0 {
		t.Errorf("left are %+v", undone.Roles)
	}
}

// TestChangesByOthersAreRepaired changes a trust policy, a policy and an association,
// which the script must repair.
func TestChangesByOthersAreRepaired(t *testing.T) {
	d := newScriptEnv(t)
	args := append(slices.Clone(kinds["pod-identity"]), "--apply")
	_, made := d.must(args...)
	changed := readAccount(d.path)
	for name, r := range changed.Roles {
		changed.Roles[name] = role{Trust: "{}", Policies: map[string]string{"portlease": "{}"}}
		_ = r
	}
	for id, as := range changed.Associations {
		as.Role = "arn:aws:iam::123456789012:role/other"
		changed.Associations[id] = as
	}
	changed.write(d.path)
	if _, again := d.must(args...); !same(again, made) {
		t.Errorf("it is %+v and was %+v", again, made)
	}
	changed.write(d.path)
	if _, undone := d.must(append(args, "--undo")...); len(undone.Associations) != len(changed.Associations) {
		t.Error("associations with a foreign role are gone")
	}
}

// TestInvalidArgumentsAndFailedCommands checks that the script refuses invalid
// arguments before it calls AWS. When a command fails, the script stops before it
// changes anything else.
func TestInvalidArgumentsAndFailedCommands(t *testing.T) {
	for name, args := range map[string][]string{
		"no cluster":    {},
		"unknown flag":  {"--cluster", "one", "--force"},
		"no value":      {"--cluster"},
		"identity":      {"--cluster", "one", "--identity", "user"},
		"games":         {"--cluster", "one", "--games", "games"},
		"namespace":     {"--cluster", "one", "--namespace", "a|b"},
		"load balancer": {"--cluster", "one", "--load-balancer", "games-1"},
		"source VPC":    {"--cluster", "one", "--source-vpc", "any"},
		"injection":     {"--cluster", "one'; true"},
	} {
		d := newScriptEnv(t)
		says, code := d.run(append(args, "--apply")...)
		if calls := readAccount(d.path).Calls; code == 0 || len(calls) > 0 || !strings.Contains(says, "setup.sh:") {
			t.Errorf("%s: exit code %d after %v: %s", name, code, calls, says)
		}
	}
	d := newScriptEnv(t)
	if says, code := d.run("--cluster", "one", "--ledger", "x", "--apply"); code == 0 || !strings.Contains(says, "--ledger") || len(changes(readAccount(d.path).Calls)) > 0 {
		t.Errorf("exit code %d: %s", code, says)
	}
	if says, code := d.run("--cluster", "one", "--name", strings.Repeat("n", 60), "--apply"); code == 0 || !strings.Contains(says, "64 characters") || len(changes(readAccount(d.path).Calls)) > 0 {
		t.Errorf("exit code %d: %s", code, says)
	}
	for _, broken := range []string{"sts get-caller-identity", "eks describe-cluster", "eks describe-addon", "iam get-role", "iam create-role", "eks list-pod-identity-associations"} {
		d := newScriptEnv(t)
		a := readAccount(d.path)
		a.Broken = broken
		a.write(d.path)
		says, code := d.run("--cluster", "one", "--apply")
		after := readAccount(d.path)
		if code == 0 || !strings.Contains(says, "failed") || !strings.HasPrefix(after.Calls[len(after.Calls)-1], "aws "+broken) {
			t.Errorf("%s: exit code %d after %v: %s", broken, code, after.Calls, says)
		}
	}
}

func TestHelpListsEveryFlag(t *testing.T) {
	says, _ := newScriptEnv(t).must("--help")
	text, err := os.ReadFile("../../../deploy/iam/setup.sh")
	if err != nil {
		t.Fatal(err)
	}
	for _, flag := range regexp.MustCompile(`(?m)^ {8}(--[a-z-]+)\)`).FindAllStringSubmatch(string(text), -1) {
		if !strings.Contains(says, "  "+flag[1]+" ") {
			t.Errorf("the help does not name %s", flag[1])
		}
	}
}
