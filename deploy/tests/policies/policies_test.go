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
		for what, one := range weaker {
			allows := func(a attempt, policy []byte) bool {
				w := newTown(t, one.switches)
				w.assume(role, policy)
				return a.call(w, role) == nil
			}
			through := slices.ContainsFunc(attempts(), func(a attempt) bool {
				_, refused := a.refused[role]
				return refused && allows(a, one.without) && !allows(a, one.with)
			})
			if !through {
				t.Errorf("%s: %s refuses nothing", file, what)
			}
		}
	}
}

// weaker is a policy with and without one of its conditions, and how AWS evaluates it.
type weaker struct {
	with, without []byte
	switches      elbemu.Switches
}

// onListener is the statement that counts only if AWS evaluates CreateListener for the
// listener. onLoadBalancer has the same conditions and would hide that it does.
const onListener, onLoadBalancer = "CreateListenerItself", "CreateListenerOnLoadBalancer"

// weakened gives the policy without each of its conditions, by the condition's name.
func weakened(t *testing.T, text []byte) map[string]weaker {
	t.Helper()
	read := func(without string) map[string]any {
		var d map[string]any
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatal(err)
		}
		for _, s := range d["Statement"].([]any) {
			if s := s.(map[string]any); s["Sid"] == without {
				delete(s, "Condition")
			}
		}
		return d
	}
	statement := func(d map[string]any, i int) map[string]any { return d["Statement"].([]any)[i].(map[string]any) }
	written := func(d map[string]any) []byte {
		changed, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := iam.Parse(changed); err != nil {
			t.Fatal(err)
		}
		return changed
	}
	all := make(map[string]weaker)
	for i := range read("")["Statement"].([]any) {
		sid, open, switches := statement(read(""), i)["Sid"], "", elbemu.Switches{}
		if sid == onListener {
			open, switches.CreateListenerOnListener = onLoadBalancer, true
		}
		conditions, _ := statement(read(open), i)["Condition"].(map[string]any)
		for operator, keys := range conditions {
			for key := range keys.(map[string]any) {
				d := read(open)
				delete(statement(d, i)["Condition"].(map[string]any)[operator].(map[string]any), key)
				all[fmt.Sprintf("%v %s %s", sid, operator, key)] = weaker{written(read(open)), written(d), switches}
			}
		}
	}
	return all
}

// TestListenersAreConditionedThemselves has AWS evaluate CreateListener for the listener
// alone: nobody gets a listener that the statement about load balancers would refuse for
// its tags or protocol.
func TestListenersAreConditionedThemselves(t *testing.T) {
	for role, file := range map[string]string{"POD": policies.AgentPodIdentity, "IRSA": policies.AgentIRSA} {
		text, err := policies.Read(file, values)
		if err != nil {
			t.Fatal(err)
		}
		var open weaker
		for what, one := range weakened(t, text) {
			if strings.HasPrefix(what, onListener) {
				open = one
			}
		}
		if open.with == nil {
			t.Errorf("%s: %s has no conditions", file, onListener)
			continue
		}
		for _, a := range attempts() {
			if a.refused[role] != "CreateListener {lb}" {
				continue
			}
			w := newTown(t, open.switches)
			w.assume(role, open.with)
			if err := a.call(w, role); err == nil {
				t.Errorf("%s tries to %s: it may", role, a.name)
			}
		}
	}
}

// TestSourceVPCDeniesEverythingElsewhere decides requests under deploy/iam/source-vpc.json.
// AWS gives a request the key only if it comes through a VPC endpoint.
func TestSourceVPCDeniesEverythingElsewhere(t *testing.T) {
	text, err := policies.Read(policies.SourceVPC, values)
	if err != nil {
		t.Fatal(err)
	}
	policy, err := iam.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	for from, want := range map[string]iam.Verdict{values.VPC: iam.NotAllowed, "vpc-of-others": iam.Denied, "": iam.Denied} {
		for _, action := range []string{"elasticloadbalancing:CreateListener", "elasticloadbalancing:DescribeTags"} {
			r := iam.Request{Action: action, Resource: "*", Keys: iam.Keys{}}
			if from != "" {
				r.Keys.Set("aws:SourceVpc", from)
			}
			if got, _ := policy.Decide(r); got != want {
				t.Errorf("%s from VPC %q: got %v, want %v", action, from, got, want)
			}
		}
	}
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
