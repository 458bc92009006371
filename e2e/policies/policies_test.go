package policies_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/smithy-go"

	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/e2e/elbemu/iam"
	"github.com/portlease/portlease/e2e/policies"
	"github.com/portlease/portlease/shared/elb"
)

const (
	account = "000000000000"
	region  = "us-east-1"
	ledger  = "0e8f/portlease"
	others  = "77aa/portlease" // another installation in the account
	prefix  = "arn:aws:elasticloadbalancing:us-east-1:000000000000:"
)

var values = policies.Values{Partition: "aws", Region: region, Account: account, Ledger: ledger, Namespace: "games"}

// mine are the tags of the pod that calls; changed has others of them.
func mine(changed map[string]string) map[string]string {
	tags := elb.Tags{Ledger: ledger, Namespace: "games", Pod: "mine", PodUID: "uid-mine", Lease: "l-1", Epoch: "e", Generation: 1}.Map()
	for key, value := range changed {
		if tags[key] = value; value == "" {
			delete(tags, key)
		}
	}
	return tags
}

func victims(namespace, ledger string) map[string]string {
	return elb.Tags{Ledger: ledger, Namespace: namespace, Pod: "victim", PodUID: "uid-victim", Lease: "l-2", Epoch: "e", Generation: 1}.Map()
}

// town is an account in which several pods and installations live, with the
// ARNs of what they have by name.
type town struct {
	t        *testing.T
	emulator *elbemu.Emulator
	arn      map[string]string
}

func (w town) client(key string) *elbv2.Client {
	return elbv2.New(elbv2.Options{
		Region: region, BaseEndpoint: aws.String("http://elbemu.invalid"), HTTPClient: &http.Client{Transport: w.emulator},
		Credentials: credentials.NewStaticCredentialsProvider(key, "secret", ""), Retryer: aws.NopRetryer{},
	})
}

func newTown(t *testing.T, switches elbemu.Switches) town {
	t.Helper()
	e, err := elbemu.New(elbemu.Config{Region: region, Account: account, Switches: switches})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	w := town{t, e, map[string]string{}}
	c := w.client("ADMIN")
	for name, tag := range map[string]string{"lb": ledger, "lb of others": others, "lb of nobody": ""} {
		in := &elbv2.CreateLoadBalancerInput{Name: aws.String(strings.ReplaceAll(name, " ", "-")), Type: types.LoadBalancerTypeEnumNetwork, Subnets: []string{"subnet-local-a"}}
		if tag != "" {
			in.Tags = list(map[string]string{elb.TagLedger: tag})
		}
		out, err := c.CreateLoadBalancer(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		w.arn[name] = *out.LoadBalancers[0].LoadBalancerArn
	}
	for i, one := range []struct {
		name, group string
		tags        map[string]string
	}{
		{"mine", "pl-mine", mine(nil)}, {"victim's", "pl-victim", victims("games", ledger)}, {"another namespace's", "pl-lobby", victims("lobby", ledger)},
		{"another ledger's", "pl-others", victims("games", others)}, {"stranger's", "web", nil}, {"untagged", "pl-untagged", nil},
	} {
		group, err := createGroup(w, "ADMIN", one.group, one.tags)
		if err != nil {
			t.Fatal(err)
		}
		w.arn[one.name+" group"] = group
		listener, err := createListener(w, "ADMIN", "lb", group, 30000+i, types.ProtocolEnumTcp, one.tags)
		if err != nil {
			t.Fatal(err)
		}
		w.arn[one.name+" listener"] = listener
	}
	spare, err := createGroup(w, "ADMIN", "pl-spare", mine(nil))
	if err != nil {
		t.Fatal(err)
	}
	w.arn["spare group"] = spare
	return w
}

func list(tags map[string]string) (all []types.Tag) {
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		all = append(all, types.Tag{Key: &key, Value: aws.String(tags[key])})
	}
	return all
}

func createGroup(w town, key, name string, tags map[string]string) (string, error) {
	out, err := w.client(key).CreateTargetGroup(w.t.Context(), &elbv2.CreateTargetGroupInput{
		Name: &name, Protocol: types.ProtocolEnumTcp, Port: aws.Int32(7777), VpcId: aws.String("vpc-local"), TargetType: types.TargetTypeEnumIp, Tags: list(tags),
	})
	if err != nil {
		return "", err
	}
	return *out.TargetGroups[0].TargetGroupArn, nil
}

func createListener(w town, key, lb, group string, port int, protocol types.ProtocolEnum, tags map[string]string) (string, error) {
	in := &elbv2.CreateListenerInput{
		LoadBalancerArn: aws.String(w.arn[lb]), Port: aws.Int32(int32(port)), Protocol: protocol, Tags: list(tags),
		DefaultActions: []types.Action{{Type: types.ActionTypeEnumForward, TargetGroupArn: &group}},
	}
	if protocol == types.ProtocolEnumTls {
		in.Certificates = []types.Certificate{{CertificateArn: aws.String("arn:aws:acm:us-east-1:000000000000:certificate/1")}}
	}
	out, err := w.client(key).CreateListener(w.t.Context(), in)
	if err != nil {
		return "", err
	}
	return *out.Listeners[0].ListenerArn, nil
}

// roles are the access keys that the rows are played with.
var roles = map[string]string{"POD": policies.AgentPodIdentity, "IRSA": policies.AgentIRSA, "JANITOR": policies.Janitor}

// assume gives a role its policy, perhaps one that was changed.
func (w town) assume(role string, policy []byte) {
	w.t.Helper()
	who := elbemu.Principal{ARN: "arn:aws:sts::" + account + ":assumed-role/" + role, Policy: policy}
	if role == "POD" {
		who.Tags = policies.SessionTags("games", "mine", "uid-mine")
	}
	if err := w.emulator.Restrict(role, who); err != nil {
		w.t.Fatal(err)
	}
}

// attempt is what somebody tries.
type attempt struct {
	name string
	call func(w town, key string) error
	// refused is action and resource of the refusal by role; a role that is missing
	// is allowed to. What is named in braces is the ARN of that name.
	refused map[string]string
}

// everybody is refused alike.
func everybody(refusal string) map[string]string {
	return map[string]string{"POD": refusal, "IRSA": refusal, "JANITOR": refusal}
}

// making is the attempt to make a target group with tags that are not this
// pod's. IRSA does not know which pod calls.
func making(name string, changed map[string]string, irsa bool) attempt {
	a := attempt{
		name: "create a target group " + name, refused: everybody("CreateTargetGroup " + prefix + "targetgroup/pl-new/*"),
		call: func(w town, key string) error {
			_, err := createGroup(w, key, "pl-new", mine(changed))
			return err
		},
	}
	if irsa {
		delete(a.refused, "IRSA")
	}
	return a
}

// listening is making for a listener.
func listening(name string, changed map[string]string, irsa bool) attempt {
	a := attempt{
		name: "create a listener " + name, refused: everybody("CreateListener {lb}"),
		call: func(w town, key string) error {
			_, err := createListener(w, key, "lb", w.arn["spare group"], 30100, types.ProtocolEnumUdp, mine(changed))
			if answer, ok := errors.AsType[smithy.APIError](err); ok && answer.ErrorCode() == "IncompatibleProtocols" {
				return nil // it was allowed to
			}
			return err
		},
	}
	if irsa {
		delete(a.refused, "IRSA")
	}
	return a
}

// changing is every change of something that somebody has.
func changing(whose string, irsa bool) []attempt {
	refused := func(action, what string, janitor bool) map[string]string {
		r := everybody(action + " {" + whose + " " + what + "}")
		if irsa {
			delete(r, "IRSA")
		}
		if janitor {
			delete(r, "JANITOR")
		}
		return r
	}
	ours := whose != "another ledger's" && whose != "stranger's" && whose != "untagged"
	target := []types.TargetDescription{{Id: aws.String("127.30.0.9"), Port: aws.Int32(7777)}}
	return []attempt{
		{"register into " + whose + " target group", func(w town, key string) error {
			_, err := w.client(key).RegisterTargets(w.t.Context(), &elbv2.RegisterTargetsInput{TargetGroupArn: aws.String(w.arn[whose+" group"]), Targets: target})
			return err
		}, refused("RegisterTargets", "group", false)},
		{"deregister from " + whose + " target group", func(w town, key string) error {
			_, err := w.client(key).DeregisterTargets(w.t.Context(), &elbv2.DeregisterTargetsInput{TargetGroupArn: aws.String(w.arn[whose+" group"]), Targets: target})
			return err
		}, refused("DeregisterTargets", "group", false)},
		{"set attributes of " + whose + " target group", func(w town, key string) error {
			_, err := w.client(key).ModifyTargetGroupAttributes(w.t.Context(), &elbv2.ModifyTargetGroupAttributesInput{
				TargetGroupArn: aws.String(w.arn[whose+" group"]), Attributes: []types.TargetGroupAttribute{{Key: aws.String("deregistration_delay.timeout_seconds"), Value: aws.String("0")}},
			})
			return err
		}, refused("ModifyTargetGroupAttributes", "group", false)},
		{"delete " + whose + " listener", func(w town, key string) error {
			_, err := w.client(key).DeleteListener(w.t.Context(), &elbv2.DeleteListenerInput{ListenerArn: aws.String(w.arn[whose+" listener"])})
			return err
		}, refused("DeleteListener", "listener", ours)},
		{"delete " + whose + " target group", func(w town, key string) error {
			_, err := w.client(key).DeleteTargetGroup(w.t.Context(), &elbv2.DeleteTargetGroupInput{TargetGroupArn: aws.String(w.arn[whose+" group"])})
			if answer, ok := errors.AsType[smithy.APIError](err); ok && answer.ErrorCode() == "ResourceInUse" {
				return nil // it was allowed to
			}
			return err
		}, refused("DeleteTargetGroup", "group", ours || whose == "untagged")},
	}
}

func attempts() []attempt {
	all := slices.Concat(
		changing("victim's", true), changing("another namespace's", false), changing("another ledger's", false), changing("stranger's", false), changing("untagged", false),
	)
	for _, kind := range []func(string, map[string]string, bool) attempt{making, listening} {
		all = append(all,
			kind("as another pod, by UID", map[string]string{elb.TagPodUID: "uid-victim"}, true),
			kind("as another pod, by name", map[string]string{elb.TagPod: "victim"}, true),
			kind("of another namespace", map[string]string{elb.TagNamespace: "lobby"}, false),
			kind("of another ledger", map[string]string{elb.TagLedger: others}, false),
			kind("without a ledger", map[string]string{elb.TagLedger: ""}, false),
			kind("without a pod", map[string]string{elb.TagPod: ""}, false),
			kind("without a pod UID", map[string]string{elb.TagPodUID: ""}, false),
			kind("without a lease", map[string]string{elb.TagLease: ""}, false),
			kind("without a generation", map[string]string{elb.TagGeneration: ""}, false),
			kind("with one more tag", map[string]string{"owner": "me"}, false),
		)
	}
	named := func(action string, call func(w town, c *elbv2.Client) error, refused map[string]string) attempt {
		return attempt{action, func(w town, key string) error { return call(w, w.client(key)) }, refused}
	}
	return append(all,
		attempt{"create a target group of another name", func(w town, key string) error {
			_, err := createGroup(w, key, "web-2", mine(nil))
			return err
		}, everybody("CreateTargetGroup " + prefix + "targetgroup/web-2/*")},
		attempt{"create a target group without tags", func(w town, key string) error {
			_, err := createGroup(w, key, "pl-new", nil)
			return err
		}, everybody("CreateTargetGroup " + prefix + "targetgroup/pl-new/*")},
		attempt{"create a listener on a load balancer of another cluster", func(w town, key string) error {
			_, err := createListener(w, key, "lb of others", w.arn["spare group"], 30100, types.ProtocolEnumTcp, mine(nil))
			return err
		}, everybody("CreateListener {lb of others}")},
		attempt{"create a listener on a load balancer without tags", func(w town, key string) error {
			_, err := createListener(w, key, "lb of nobody", w.arn["spare group"], 30100, types.ProtocolEnumTcp, mine(nil))
			return err
		}, everybody("CreateListener {lb of nobody}")},
		attempt{"create a listener of another protocol", func(w town, key string) error {
			_, err := createListener(w, key, "lb", w.arn["spare group"], 30100, types.ProtocolEnumTls, mine(nil))
			if answer, ok := errors.AsType[smithy.APIError](err); ok && answer.ErrorCode() == "IncompatibleProtocols" {
				return nil // it was allowed to
			}
			return err
		}, everybody("CreateListener {lb}")},
		named("give its own target group other tags", func(w town, c *elbv2.Client) error {
			_, err := c.AddTags(w.t.Context(), &elbv2.AddTagsInput{ResourceArns: []string{w.arn["mine group"]}, Tags: list(victims("games", ledger))})
			return err
		}, everybody("AddTags {mine group}")),
		named("tag its own listener again", func(w town, c *elbv2.Client) error {
			_, err := c.AddTags(w.t.Context(), &elbv2.AddTagsInput{ResourceArns: []string{w.arn["mine listener"]}, Tags: list(mine(nil))})
			return err
		}, everybody("AddTags {mine listener}")),
		named("tag a load balancer for its ledger", func(w town, c *elbv2.Client) error {
			_, err := c.AddTags(w.t.Context(), &elbv2.AddTagsInput{ResourceArns: []string{w.arn["lb of nobody"]}, Tags: list(mine(nil))})
			return err
		}, everybody("AddTags {lb of nobody}")),
		named("take its own tags away", func(w town, c *elbv2.Client) error {
			_, err := c.RemoveTags(w.t.Context(), &elbv2.RemoveTagsInput{ResourceArns: []string{w.arn["mine group"]}, TagKeys: []string{elb.TagLedger}})
			return err
		}, everybody("RemoveTags {mine group}")),
		named("have its own listener forward elsewhere", func(w town, c *elbv2.Client) error {
			_, err := c.ModifyListener(w.t.Context(), &elbv2.ModifyListenerInput{ListenerArn: aws.String(w.arn["mine listener"]), Port: aws.Int32(443)})
			return err
		}, everybody("ModifyListener {mine listener}")),
		named("change attributes of the load balancer", func(w town, c *elbv2.Client) error {
			_, err := c.ModifyLoadBalancerAttributes(w.t.Context(), &elbv2.ModifyLoadBalancerAttributesInput{LoadBalancerArn: aws.String(w.arn["lb"]), Attributes: []types.LoadBalancerAttribute{
				{Key: aws.String("load_balancing.cross_zone.enabled"), Value: aws.String("false")},
			}})
			return err
		}, everybody("ModifyLoadBalancerAttributes {lb}")),
		named("delete the load balancer", func(w town, c *elbv2.Client) error {
			_, err := c.DeleteLoadBalancer(w.t.Context(), &elbv2.DeleteLoadBalancerInput{LoadBalancerArn: aws.String(w.arn["lb"])})
			return err
		}, everybody("DeleteLoadBalancer {lb}")),
		named("list load balancers", func(w town, c *elbv2.Client) error {
			_, err := c.DescribeLoadBalancers(w.t.Context(), &elbv2.DescribeLoadBalancersInput{})
			return err
		}, map[string]string{"POD": "DescribeLoadBalancers", "IRSA": "DescribeLoadBalancers"}),
		// What IAM cannot keep an agent from: see docs/iam.md.
		attempt{"forward its own listener to the victim's target group, on any port", func(w town, key string) error {
			_, err := createListener(w, key, "lb", w.arn["victim's group"], 30199, types.ProtocolEnumTcp, mine(nil))
			return err
		}, map[string]string{"JANITOR": "CreateListener {lb}"}},
		named("make any address of the VPC its own target", func(w town, c *elbv2.Client) error {
			_, err := c.RegisterTargets(w.t.Context(), &elbv2.RegisterTargetsInput{TargetGroupArn: aws.String(w.arn["mine group"]), Targets: []types.TargetDescription{{Id: aws.String("127.30.0.77")}}})
			return err
		}, map[string]string{"JANITOR": "RegisterTargets {mine group}"}),
	)
}

// words is the whole message of a refusal.
func (w town) words(role, refusal string) string {
	action, on, found := strings.Cut(refusal, " ")
	if found {
		if name, ok := strings.CutPrefix(on, "{"); ok {
			on = w.arn[strings.TrimSuffix(name, "}")]
		}
		on = " on resource: " + on
	}
	return fmt.Sprintf("User: arn:aws:sts::%s:assumed-role/%s is not authorized to perform: elasticloadbalancing:%s%s because no identity-based policy allows the elasticloadbalancing:%[3]s action", account, role, action, on)
}

// TestRefusals: what the policies let nobody do, and in which words, however AWS
// asks them.
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
						want = w.words(role, refusal)
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

// TestEveryConditionIsNeeded drops each condition and each restriction to ARNs in
// turn: something that was refused is then allowed.
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
				t.Errorf("%s: %s keeps nobody from anything", file, what)
			}
		}
	}
}

// weakened gives the policy without each of its conditions, by their names.
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

// TestPoliciesFit: an inline policy of a role has at most 10,240 characters
// without white space, a managed one 6,144 (IAM user guide, "IAM and AWS STS
// quotas").
func TestPoliciesFit(t *testing.T) {
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
