package elbemu_test

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/portlease/portlease/e2e/elbemu"
)

func post(e *elbemu.Emulator, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	e.ServeHTTP(w, r)
	return w
}

type errorAnswer struct {
	XMLName   xml.Name `xml:"http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/ ErrorResponse"`
	Error     struct{ Type, Code, Message string }
	RequestID string `xml:"RequestId"`
}

func TestInvalidRequestsAreRefused(t *testing.T) {
	const v = "Version=2015-12-01&"
	const describe = v + "Action=DescribeTags&"
	rows := []struct{ name, body, code, says string }{
		{"nothing", "", "MissingAction", "Action"},
		{"no form", "%zz", "MissingAction", "Action"},
		{"unknown action", v + "Action=CreateRule", "InvalidAction", "CreateRule"},
		{"no version", "Action=DescribeLoadBalancers", "InvalidAction", "2015-12-01"},
		{"misspelled parameter", v + "Action=DescribeLoadBalancers&Pagesize=3", "InvalidQueryParameter", "Pagesize"},
		{"misspelled member", v + "Action=DescribeLoadBalancers&Names.members.1=x", "InvalidQueryParameter", "Names.members.1"},
		{"flattened list", v + "Action=DescribeLoadBalancers&Names.1=x", "InvalidQueryParameter", "Names.1"},
		{"value where a list belongs", v + "Action=DescribeLoadBalancers&Names=x", "InvalidQueryParameter", "Names"},
		{"structure where a value belongs", v + "Action=DescribeLoadBalancers&PageSize.x=1", "InvalidQueryParameter", "PageSize.x"},
		{"gap in a list", describe + "ResourceArns.member.2=x", "InvalidQueryParameter", "ResourceArns"},
		{"list from zero", describe + "ResourceArns.member.0=x", "InvalidQueryParameter", "ResourceArns"},
		{"same member twice", describe + "ResourceArns.member.1=x&ResourceArns.member.01=y", "InvalidQueryParameter", "ResourceArns"},
		{"same parameter twice", describe + "ResourceArns.member.1=x&ResourceArns.member.1=y", "InvalidQueryParameter", "2 times"},
		{"not UTF-8", describe + "ResourceArns.member.1=%ff", "InvalidQueryParameter", "UTF-8"},
		{"not a number", v + "Action=DescribeLoadBalancers&PageSize=many", "ValidationError", "many"},
		{"not a boolean", v + "Action=CreateTargetGroup&Name=g&HealthCheckEnabled=yes", "ValidationError", "yes"},
		{"known to AWS, not emulated", v + "Action=CreateTargetGroup&Name=g&Protocol=TCP&Port=1&VpcId=vpc-local&TargetControlPort=3", "InvalidQueryParameter", "TargetControlPort"},
	}
	e := newEmulator(t, elbemu.Config{})
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			answer := post(e, row.body)
			var got errorAnswer
			if err := xml.Unmarshal(answer.Body.Bytes(), &got); err != nil {
				t.Fatalf("%v in %s", err, answer.Body)
			}
			if answer.Code != http.StatusBadRequest || got.Error.Code != row.code || got.Error.Type != "Sender" ||
				!strings.Contains(got.Error.Message, row.says) || got.RequestID == "" {
				t.Fatalf("HTTP %d %s", answer.Code, answer.Body)
			}
		})
	}
	if n := e.CallCounts()["unknown"].Total; n != 3 {
		t.Errorf("%d unknown calls counted", n)
	}
}

func TestEmptyAnswersHaveAResultElement(t *testing.T) {
	e := newEmulator(t, elbemu.Config{})
	const arn = "arn:aws:elasticloadbalancing:us-east-1:000000000000:loadbalancer/net/a/0000000000000000"
	got := post(e, "Version=2015-12-01&Action=DeleteLoadBalancer&LoadBalancerArn="+arn).Body.String()
	if !strings.Contains(got, "<DeleteLoadBalancerResult></DeleteLoadBalancerResult><ResponseMetadata><RequestId>") {
		t.Fatal(got)
	}
}

// FuzzQuery checks that every request gets XML with a status that the API has.
func FuzzQuery(f *testing.F) {
	const v = "Version=2015-12-01&Action="
	f.Add("")
	f.Add(v + "CreateLoadBalancer&Name=n&Type=network&Subnets.member.1=subnet-local-a&Tags.member.1.Key=k&Tags.member.1.Value=v")
	f.Add(v + "CreateLoadBalancer&Name=n&Type=network&SubnetMappings.member.1.SubnetId=subnet-local-a&SubnetMappings.member.1.AllocationId=eipalloc-local-a")
	f.Add(v + "CreateTargetGroup&Name=g&Protocol=UDP&Port=7&VpcId=vpc-local&TargetType=ip&HealthCheckPort=9&Matcher.HttpCode=200-299&HealthCheckProtocol=HTTP")
	f.Add(v + "RegisterTargets&TargetGroupArn=$G&Targets.member.1.Id=127.30.0.9&Targets.member.1.Port=3&Targets.member.2.Id=10.0.0.1&Targets.member.2.AvailabilityZone=all")
	f.Add(v + "CreateListener&LoadBalancerArn=$L&Protocol=TCP&Port=9&DefaultActions.member.1.Type=forward&DefaultActions.member.1.ForwardConfig.TargetGroups.member.1.TargetGroupArn=$G")
	f.Add(v + "ModifyListener&ListenerArn=$S&Port=9")
	f.Add(v + "ModifyTargetGroupAttributes&TargetGroupArn=$G&Attributes.member.1.Key=deregistration_delay.timeout_seconds&Attributes.member.1.Value=0")
	f.Add(v + "DescribeTargetGroups&Marker=YWZ0ZXI6MQ==&PageSize=1")
	f.Add(v + "DeregisterTargets&TargetGroupArn=$G&Targets.member.1.Id=127.30.0.8&Targets.member.1.Port=80")
	f.Add(v + "DeleteLoadBalancer&LoadBalancerArn=$L")
	f.Fuzz(func(t *testing.T, body string) {
		e := newEmulator(t, elbemu.Config{})
		w := world{newClient(e), t, e}
		lb, group := w.loadBalancer("nlb"), w.targetGroup("fuzz", "TCP", 80)
		w.register(group, "127.30.0.8", 80)
		listener := w.listener(lb, group, "TCP", 80)
		names := strings.NewReplacer("$L", lb, "$G", group, "$S", listener)
		for range 2 { // the repeated call is idempotent or refused
			answer := post(e, names.Replace(body))
			if answer.Code != http.StatusOK && answer.Code != http.StatusBadRequest {
				t.Fatalf("HTTP %d %s", answer.Code, answer.Body)
			}
			var anything struct{ XMLName xml.Name }
			if err := xml.Unmarshal(answer.Body.Bytes(), &anything); err != nil {
				t.Fatalf("%v in %s", err, answer.Body)
			}
		}
		consistent(t, e.Snapshot())
	})
}

// consistent checks the invariants of the state.
func consistent(t testing.TB, s elbemu.Snapshot) {
	t.Helper()
	groups, ports := map[string]string{}, map[string]bool{}
	for _, g := range s.TargetGroups {
		groups[g.ARN] = g.LoadBalancerARN
	}
	for _, l := range s.Listeners {
		key := fmt.Sprint(l.LoadBalancerARN, l.Port)
		if ports[key] {
			t.Fatalf("two listeners on port %d", l.Port)
		}
		ports[key] = true
		for _, f := range l.Forwards {
			if groups[f.TargetGroupARN] != l.LoadBalancerARN {
				t.Fatalf("listener %s forwards to %s of load balancer %q", l.ARN, f.TargetGroupARN, groups[f.TargetGroupARN])
			}
		}
	}
}
