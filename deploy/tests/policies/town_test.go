package policies_test

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/portlease/portlease/deploy/tests/policies"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/elb"
)

const (
	account = "000000000000"
	region  = "us-east-1"
	ledger  = "0e8f/portlease"
	others  = "77aa/portlease" // another installation in the account
	prefix  = "arn:aws:elasticloadbalancing:us-east-1:000000000000:"
)

var values = policies.Values{Partition: "aws", Region: region, Account: account, Ledger: ledger, Namespace: "games", VPC: "vpc-local"}

// mine gives the tags of the calling pod, with some of them changed.
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

// town is an AWS account with several pods and installations. arn maps the names of
// their resources to ARNs.
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
	for name, tag := range map[string]string{"lb": ledger, "lb of others": others, "untagged lb": ""} {
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

// roles maps each role, which is also its access key, to its policy file.
var roles = map[string]string{"POD": policies.AgentPodIdentity, "IRSA": policies.AgentIRSA, "JANITOR": policies.Janitor}

// assume gives a role a policy, which may be a changed one.
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
