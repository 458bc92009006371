package policies_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/portlease/portlease/deploy/tests/policies"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/e2e/elbemu/iam"
)

// denial gives the complete message of a refusal.
func (w town) denial(role, refusal string) string {
	action, on, found := strings.Cut(refusal, " ")
	if found {
		if name, ok := strings.CutPrefix(on, "{"); ok {
			on = w.arn[strings.TrimSuffix(name, "}")]
		}
		on = " on resource: " + on
	}
	return fmt.Sprintf("User: arn:aws:sts::%s:assumed-role/%s is not authorized to perform: elasticloadbalancing:%s%s because no identity-based policy allows the elasticloadbalancing:%[3]s action", account, role, action, on)
}

// TestRefusals checks which calls the policies refuse, and with which message, for
// each way in which AWS may evaluate them.
func TestRefusals(t *testing.T) {
	for name, switches := range map[string]elbemu.Switches{
		"as documented": {}, "on the listener, too": {CreateListenerOnListener: true},
		"tags on the load balancer": {TagsListenerOnLoadBalancer: true}, "what is missing is denied": {MissingDenied: true},
	} {
		t.Run(name, func(t *testing.T) {
			for role, file := range roles {
				policy, err := policies.Read(file, values)
				if err != nil {
					t.Fatal(err)
				}
				for _, a := range attempts() {
					w := newTown(t, switches)
					w.assume(role, policy)
					want, got := "", ""
					if refusal, refused := a.refused[role]; refused {
						want = w.denial(role, refusal)
					}
					if err := a.call(w, role); err != nil {
						_, got, _ = strings.Cut(err.Error(), "api error AccessDenied: ")
						got = strings.TrimSpace(got)
						if got == "" {
							got = err.Error()
						}
					}
					if got != want {
						t.Errorf("%s tries to %s:\n got %q\nwant %q", role, a.name, got, want)
					}
				}
			}
		})
	}
}

// TestEveryConditionIsNeeded removes each condition and each restriction to ARNs in
// turn. Some refused call must then be allowed.
func TestEveryConditionIsNeeded(t *testing.T) {
	for role, file := range roles {
		text, err := policies.Read(file, values)
		if err != nil {
			t.Fatal(err)
		}
		weaker := weakened(t, text)
		if len(weaker) < 2 {
			t.Errorf("%s has only %v", file, weaker)
		}
		for what, policy := range weaker {
			through := slices.ContainsFunc(attempts(), func(a attempt) bool {
				if _, refused := a.refused[role]; !refused {
					return false
				}
				w := newTown(t, elbemu.Switches{})
				w.assume(role, policy)
				return a.call(w, role) == nil
			})
			if !through {
				t.Errorf("%s: %s refuses nothing", file, what)
			}
		}
	}
}

// weakened gives the policy without each of its conditions, by the condition's name.
func weakened(t *testing.T, text []byte) map[string][]byte {
	t.Helper()
	read := func() map[string]any {
		var d map[string]any
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatal(err)
		}
		return d
	}
	statement := func(d map[string]any, i int) map[string]any { return d["Statement"].([]any)[i].(map[string]any) }
	all := make(map[string][]byte)
	keep := func(what string, d map[string]any) {
		changed, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := iam.Parse(changed); err != nil {
			t.Fatal(err)
		}
		all[what] = changed
	}
	for i := range read()["Statement"].([]any) {
		conditions, _ := statement(read(), i)["Condition"].(map[string]any)
		for operator, keys := range conditions {
			for key := range keys.(map[string]any) {
				d := read()
				delete(statement(d, i)["Condition"].(map[string]any)[operator].(map[string]any), key)
				keep(fmt.Sprintf("%v %s %s", statement(d, i)["Sid"], operator, key), d)
			}
		}
	}
	return all
}

// TestPoliciesFitTheSizeLimits checks the size limits: a role's inline policy has at most 10,240
// characters without white space, a managed policy 6,144 (IAM user guide, "IAM and
// AWS STS quotas").
func TestPoliciesFitTheSizeLimits(t *testing.T) {
	for _, file := range roles {
		text, err := policies.Read(file, policies.Values{Partition: "aws-us-gov", Region: "ap-southeast-4", Account: account, Ledger: strings.Repeat("x", 100), Namespace: strings.Repeat("n", 63)})
		if err != nil {
			t.Fatal(err)
		}
		if n := len(strings.Join(strings.Fields(string(text)), "")); n > 6144 {
			t.Errorf("%s has %d characters", file, n)
		}
	}
}

// TestAgentsNeedSessionTags checks that agents can make changes with the session tags
// of EKS, and none without them.
func TestAgentsNeedSessionTags(t *testing.T) {
	policy, err := policies.Read(policies.AgentPodIdentity, values)
	if err != nil {
		t.Fatal(err)
	}
	for name, call := range map[string]func(w town, key string) error{
		"CreateTargetGroup": func(w town, key string) error {
			_, err := createGroup(w, key, "pl-new", mine(nil))
			return err
		},
		"CreateListener": func(w town, key string) error {
			_, err := createListener(w, key, "lb", w.arn["spare group"], 30100, types.ProtocolEnumTcp, mine(nil))
			return err
		},
		"DeleteListener": func(w town, key string) error {
			_, err := w.client(key).DeleteListener(t.Context(), &elbv2.DeleteListenerInput{ListenerArn: aws.String(w.arn["mine listener"])})
			return err
		},
	} {
		for _, tagged := range []bool{true, false} {
			w := newTown(t, elbemu.Switches{})
			who := elbemu.Principal{Policy: policy}
			if tagged {
				who.Tags = policies.SessionTags("games", "mine", "uid-mine")
			}
			if err := w.emulator.Restrict("SESSION", who); err != nil {
				t.Fatal(err)
			}
			if err := call(w, "SESSION"); (err == nil) != tagged {
				t.Errorf("%s, with tags %v: %v", name, tagged, err)
			}
		}
	}
}
