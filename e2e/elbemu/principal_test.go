package elbemu_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/e2e/elbemu/iam"
)

// restricted returns a client whose access key has a policy with these statements.
func (w world) restricted(statements ...string) *elb.Client {
	w.t.Helper()
	err := w.e.Restrict("AKIDLESS", elbemu.Principal{
		ARN: "arn:aws:sts::000000000000:assumed-role/game/pod", Tags: map[string]string{"uid": "u-1"},
		Policy: []byte(`{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return elb.New(elb.Options{
		Region: "us-east-1", BaseEndpoint: aws.String("http://elbemu.invalid"), Credentials: staticKey("AKIDLESS"),
		HTTPClient: &http.Client{Transport: w.e}, Retryer: aws.NopRetryer{},
	})
}

func allows(action, resource, condition string) string {
	if condition == "" {
		condition = "{}"
	}
	return fmt.Sprintf(`{"Effect":"Allow","Action":"elasticloadbalancing:%s","Resource":%q,"Condition":%s}`, action, resource, condition)
}

// refusal returns AWS's message for a call that no policy allows. on is empty for actions
// without resources.
func refusal(action, on string) string {
	if on != "" {
		on = " on resource: " + on
	}
	return fmt.Sprintf("User: arn:aws:sts::000000000000:assumed-role/game/pod is not authorized to perform: elasticloadbalancing:%s%s because no identity-based policy allows the elasticloadbalancing:%[1]s action", action, on)
}

func tagList(pairs ...string) []types.Tag {
	var tags []types.Tag
	for _, pair := range pairs {
		key, value, _ := strings.Cut(pair, "=")
		tags = append(tags, types.Tag{Key: &key, Value: &value})
	}
	return tags
}

// TestPermissions checks the permissions and condition keys that each call needs.
func TestPermissions(t *testing.T) {
	const (
		everywhere = "arn:aws:elasticloadbalancing:us-east-1:000000000000:"
		owned      = `{"StringEquals":{"aws:ResourceTag/owner":"${aws:PrincipalTag/uid}"}}`
		alike      = `{"StringEquals":{"elasticloadbalancing:ResourceTag/owner":"${aws:PrincipalTag/uid}"}}`
		requested  = `{"StringEquals":{"aws:RequestTag/owner":"u-1"},"ForAllValues:StringEquals":{"aws:TagKeys":["owner"]}}`
		creating   = `{"StringEquals":{"elasticloadbalancing:CreateAction":"CreateTargetGroup"}}`
		listening  = `{"StringEquals":{"elasticloadbalancing:CreateAction":"CreateListener"}}`
	)
	type made struct{ lb, group, listener, spare string }
	createGroup := func(tags ...string) func(*elb.Client, made) error {
		return func(c *elb.Client, _ made) error {
			in := groupInput("new", types.ProtocolEnumTcp, 7777)
			in.Tags = tagList(tags...)
			_, err := c.CreateTargetGroup(context.Background(), in)
			return err
		}
	}
	createListener := func(protocol types.ProtocolEnum, tags ...string) func(*elb.Client, made) error {
		return func(c *elb.Client, m made) error {
			in := listenerInput(m.lb, m.spare, protocol, 30001)
			in.Tags = tagList(tags...)
			_, err := c.CreateListener(context.Background(), in)
			return err
		}
	}
	deleteGroup := func(c *elb.Client, m made) error {
		_, err := c.DeleteTargetGroup(context.Background(), &elb.DeleteTargetGroupInput{TargetGroupArn: &m.spare})
		return err
	}
	addTags := func(c *elb.Client, m made) error {
		_, err := c.AddTags(context.Background(), &elb.AddTagsInput{ResourceArns: []string{m.group, m.listener}, Tags: tagList("owner=u-1")})
		return err
	}
	describe := func(c *elb.Client, m made) error {
		_, err := c.DescribeTags(context.Background(), &elb.DescribeTagsInput{ResourceArns: []string{m.group}})
		return err
	}
	rows := []struct {
		name     string
		switches elbemu.Switches
		policy   []string
		call     func(*elb.Client, made) error
		want     func(made) string // the refusal; empty if the call is allowed
	}{
		{"describe with *", elbemu.Switches{}, []string{allows("DescribeTags", "*", "")}, describe, nil},
		{"describe of an ARN", elbemu.Switches{}, []string{allows("DescribeTags", everywhere+"*", "")}, describe, func(made) string { return refusal("DescribeTags", "") }},
		{"describe has no tags", elbemu.Switches{}, []string{allows("DescribeTags", "*", owned)}, describe, func(made) string { return refusal("DescribeTags", "") }},
		{"explicit deny", elbemu.Switches{}, []string{allows("*", "*", ""), `{"Effect":"Deny","Action":"elasticloadbalancing:DescribeTags","Resource":"*"}`}, describe, func(made) string {
			return "User: arn:aws:sts::000000000000:assumed-role/game/pod is not authorized to perform: elasticloadbalancing:DescribeTags with an explicit deny in an identity-based policy"
		}},
		{"group by name", elbemu.Switches{}, []string{allows("CreateTargetGroup", everywhere+"targetgroup/new/*", "")}, createGroup(), nil},
		{"group of another name", elbemu.Switches{}, []string{allows("CreateTargetGroup", everywhere+"targetgroup/old/*", "")}, createGroup(), func(made) string { return refusal("CreateTargetGroup", everywhere+"targetgroup/new/*") }},
		{"tagged group without AddTags", elbemu.Switches{}, []string{allows("CreateTargetGroup", "*", "")}, createGroup("owner=u-1"), func(made) string { return refusal("AddTags", everywhere+"targetgroup/new/*") }},
		{"tagged group", elbemu.Switches{}, []string{allows("CreateTargetGroup", "*", requested), allows("AddTags", "*", creating)}, createGroup("owner=u-1"), nil},
		{"one additional tag", elbemu.Switches{}, []string{allows("CreateTargetGroup", "*", requested), allows("AddTags", "*", creating)}, createGroup("owner=u-1", "more=1"), func(made) string { return refusal("CreateTargetGroup", everywhere+"targetgroup/new/*") }},
		{"tags of another action", elbemu.Switches{}, []string{allows("CreateTargetGroup", "*", ""), allows("AddTags", "*", listening)}, createGroup("owner=u-1"), func(made) string { return refusal("AddTags", everywhere+"targetgroup/new/*") }},
		{"listener on an owned load balancer", elbemu.Switches{}, []string{allows("CreateListener", everywhere+"loadbalancer/net/*", owned)}, createListener("TCP"), nil},
		{"listener by its own ARN", elbemu.Switches{}, []string{allows("CreateListener", everywhere+"listener/net/*", "")}, createListener("TCP"), func(m made) string { return refusal("CreateListener", m.lb) }},
		{"listener of a protocol", elbemu.Switches{}, []string{allows("CreateListener", "*", `{"ForAnyValue:StringEquals":{"elasticloadbalancing:ListenerProtocol":["UDP"]}}`)}, createListener("TCP"), func(m made) string { return refusal("CreateListener", m.lb) }},
		{"listener with tags", elbemu.Switches{}, []string{allows("CreateListener", "*", requested), allows("AddTags", everywhere+"listener/net/nlb/*", listening)}, createListener("TCP", "owner=u-1"), nil},
		{"listener with tags without AddTags", elbemu.Switches{}, []string{allows("CreateListener", "*", "")}, createListener("TCP", "owner=u-1"), func(m made) string {
			return refusal("AddTags", strings.Replace(m.lb, "loadbalancer", "listener", 1)+"/*")
		}},
		{"switch: also on the listener", elbemu.Switches{CreateListenerOnListener: true}, []string{allows("CreateListener", everywhere+"loadbalancer/net/*", "")}, createListener("TCP"), func(m made) string {
			return refusal("CreateListener", strings.Replace(m.lb, "loadbalancer", "listener", 1)+"/*")
		}},
		{"switch: also on the listener, allowed", elbemu.Switches{CreateListenerOnListener: true}, []string{allows("CreateListener", "*", "")}, createListener("TCP"), nil},
		{"switch: tags on the load balancer", elbemu.Switches{TagsListenerOnLoadBalancer: true}, []string{allows("CreateListener", "*", ""), allows("AddTags", everywhere+"listener/net/*", "")}, createListener("TCP", "owner=u-1"), func(m made) string { return refusal("AddTags", m.lb) }},
		{"switch: tags on the load balancer, allowed", elbemu.Switches{TagsListenerOnLoadBalancer: true}, []string{allows("CreateListener", "*", ""), allows("AddTags", everywhere+"loadbalancer/*", listening)}, createListener("TCP", "owner=u-1"), nil},
		{"delete an owned group", elbemu.Switches{}, []string{allows("DeleteTargetGroup", "*", alike)}, deleteGroup, nil},
		{"delete by a tag that the group lacks", elbemu.Switches{}, []string{allows("DeleteTargetGroup", "*", `{"StringEquals":{"aws:ResourceTag/owner":"u-2"}}`)}, deleteGroup, func(m made) string { return refusal("DeleteTargetGroup", m.spare) }},
		{"delete has no request tags", elbemu.Switches{}, []string{allows("DeleteTargetGroup", "*", `{"Null":{"aws:RequestTag/owner":"false"}}`)}, deleteGroup, func(m made) string { return refusal("DeleteTargetGroup", m.spare) }},
		{"AddTags needs permission on every ARN", elbemu.Switches{}, []string{allows("AddTags", everywhere+"targetgroup/*", "")}, addTags, func(m made) string { return refusal("AddTags", m.listener) }},
		{"tagging has no CreateAction", elbemu.Switches{}, []string{allows("AddTags", "*", creating)}, addTags, func(m made) string { return refusal("AddTags", m.group) }},
		{"tagging by request", elbemu.Switches{}, []string{allows("AddTags", "*", requested)}, addTags, nil},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t, elbemu.Config{Switches: row.switches})
			m := made{lb: w.loadBalancer("nlb"), group: w.targetGroup("group", types.ProtocolEnumTcp, 1), spare: w.targetGroup("spare", types.ProtocolEnumTcp, 2)}
			m.listener = w.listener(m.lb, m.group, types.ProtocolEnumTcp, 30000)
			if _, err := w.AddTags(t.Context(), &elb.AddTagsInput{ResourceArns: []string{m.lb, m.spare}, Tags: tagList("owner=u-1")}); err != nil {
				t.Fatal(err)
			}
			before := w.e.Snapshot()
			want := ""
			if row.want != nil {
				want = row.want(m)
			}
			err := row.call(w.restricted(row.policy...), m)
			if got := messageOf(t, err); got != want {
				t.Errorf("answer:\n%s\nwant:\n%s", got, want)
			}
			if after := w.e.Snapshot(); want != "" && (len(after.TargetGroups) != len(before.TargetGroups) || len(after.Listeners) != len(before.Listeners)) {
				t.Error("it was carried out")
			}
		})
	}
}

// messageOf returns the message of a refusal with status 403, or an empty string for
// success.
func messageOf(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	wantCode(t, err, "AccessDenied")
	if answer, ok := errors.AsType[*smithyhttp.ResponseError](err); !ok || answer.HTTPStatusCode() != http.StatusForbidden {
		t.Errorf("it is no 403: %v", err)
	}
	_, message, _ := strings.Cut(err.Error(), "api error AccessDenied: ")
	return message
}

// Switches.MissingDenied decides whether policies are evaluated for missing resources.
func TestMissingResourceIsNotFoundUnlessTheSwitchDeniesIt(t *testing.T) {
	for denied, want := range map[bool]string{false: "ListenerNotFound", true: "AccessDenied"} {
		w := newWorld(t, elbemu.Config{Switches: elbemu.Switches{MissingDenied: denied}})
		lb := w.loadBalancer("nlb")
		gone := strings.Replace(lb, "loadbalancer", "listener", 1) + "/0123456789abcdef"
		c := w.restricted(allows("DeleteListener", "*", `{"StringEquals":{"aws:ResourceTag/owner":"u-1"}}`))
		_, err := c.DeleteListener(t.Context(), &elb.DeleteListenerInput{ListenerArn: &gone})
		wantCode(t, err, want)
	}
}

// It also checks that Used counts the actions that allowed a call.
func TestOnlyRestrictedKeysAreRefused(t *testing.T) {
	w := newWorld(t, elbemu.Config{})
	lb := w.loadBalancer("nlb")
	c := w.restricted(`{"Sid":"See","Effect":"Allow","Action":["elasticloadbalancing:DescribeTags","elasticloadbalancing:DescribeListeners"],"Resource":"*"}`)
	for range 2 {
		if _, err := c.DescribeListeners(t.Context(), &elb.DescribeListenersInput{LoadBalancerArn: &lb}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := c.DeleteLoadBalancer(t.Context(), &elb.DeleteLoadBalancerInput{LoadBalancerArn: &lb})
	wantCode(t, err, "AccessDenied")
	if used := w.e.Used("AKIDLESS"); len(used) != 1 || used[iam.Use{Sid: "See", Action: "elasticloadbalancing:DescribeListeners"}] != 2 {
		t.Errorf("used %v", used)
	}
	if used := w.e.Used("AKIDTEST"); used != nil {
		t.Errorf("a key without a policy used %v", used)
	}
	if calls := w.e.Calls(); !slices.ContainsFunc(calls, func(c elbemu.CallRecord) bool { return c.Outcome.Code == "AccessDenied" && c.Outcome.Status == 403 }) {
		t.Errorf("the refusal is not in the log: %+v", calls)
	}
	if _, err := w.DeleteLoadBalancer(t.Context(), &elb.DeleteLoadBalancerInput{LoadBalancerArn: &lb}); err != nil {
		t.Error(err)
	}
}

func TestRestrictRefusesInvalidPrincipals(t *testing.T) {
	e := newEmulator(t, elbemu.Config{})
	for key, says := range map[string]string{"no key": "letters", "AKID": `"NotAction"`} {
		err := e.Restrict(key, elbemu.Principal{Policy: []byte(`{"Version":"2012-10-17","Statement":{"Effect":"Deny","NotAction":"*","Resource":"*"}}`)})
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func TestPolicyCanRequireTLS(t *testing.T) {
	w := newWorld(t, elbemu.Config{})
	lb := w.loadBalancer("nlb")
	for _, server := range []*httptest.Server{httptest.NewServer(w.e), httptest.NewTLSServer(w.e)} {
		defer server.Close()
		w.restricted(allows("*", "*", `{"Bool":{"aws:SecureTransport":"true"}}`))
		c := elb.New(elb.Options{Region: "us-east-1", BaseEndpoint: &server.URL, Credentials: staticKey("AKIDLESS"), HTTPClient: server.Client(), Retryer: aws.NopRetryer{}})
		_, err := c.DescribeListeners(t.Context(), &elb.DescribeListenersInput{LoadBalancerArn: &lb})
		want := ""
		if server.TLS == nil {
			want = "AccessDenied"
		}
		wantCode(t, err, want)
	}
}

// If the emulator read a key differently from a signature, its calls would be
// unrestricted.
func TestEveryValidAccessKeyCanBeRestricted(t *testing.T) {
	e := newEmulator(t, elbemu.Config{})
	for _, key := range []string{"AKIDTEST", "a_b", "1428b062-c254-4c89-ab36-1d665b7eb10b"} {
		if err := e.Restrict(key, elbemu.Principal{Policy: []byte(`{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}`)}); err != nil {
			t.Fatal(err)
		}
		client := elb.New(elb.Options{
			Region: "us-east-1", BaseEndpoint: aws.String("http://elbemu.invalid"), Credentials: staticKey(key),
			HTTPClient: &http.Client{Transport: e}, Retryer: aws.NopRetryer{},
		})
		_, err := client.DescribeLoadBalancers(t.Context(), nil)
		if code := codeOf(t, err); code != "AccessDenied" {
			t.Errorf("%s, who may nothing, is answered %q", key, code)
		}
	}
}
