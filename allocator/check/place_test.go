package check_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/portlease/portlease/allocator/app"
	"github.com/portlease/portlease/allocator/auth"
	"github.com/portlease/portlease/allocator/check"
	"github.com/portlease/portlease/allocator/kubelease"
	"github.com/portlease/portlease/deploy/tests/policies"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/elb"
)

// place is where an allocator is to be installed, everything in order.
type place struct {
	t         *testing.T
	dir       string
	namespace string
	games     string
	ledger    string
	emulator  *elbemu.Emulator
	config    app.Config
	aws       aws.Config
	kube      *rest.Config
	lb        string
}

const key = "ALLOCATOR"

func (p *place) admin() *elbv2.Client {
	c := p.aws.Copy()
	c.Credentials = credentials.NewStaticCredentialsProvider("ADMIN", "s", "")
	return elbv2.NewFromConfig(c)
}

func newPlace(t *testing.T, without auth.Right, change func(*elbemu.Config)) *place {
	t.Helper()
	p := &place{t: t, dir: t.TempDir()}
	var err error
	p.namespace, err = cluster.Namespace(t.Context(), "check")
	must(t, err)
	p.games, err = cluster.Namespace(t.Context(), "games")
	must(t, err)
	p.kube = p.serviceAccount(without)
	p.ledger, err = kubelease.ID(t.Context(), p.clients(), p.namespace)
	must(t, err)

	c := elbemu.Config{
		VPCs: []elbemu.VPC{{ID: "vpc-a", CIDR: netip.MustParsePrefix("127.30.0.0/16")}, {ID: "vpc-b", CIDR: netip.MustParsePrefix("127.31.0.0/16")}},
		Subnets: []elbemu.Subnet{
			{ID: "subnet-a", CIDR: netip.MustParsePrefix("127.30.0.0/17"), Zone: "us-east-1a"}, {ID: "subnet-b", CIDR: netip.MustParsePrefix("127.31.0.0/17"), Zone: "us-east-1a"},
		},
	}
	if change != nil {
		change(&c)
	}
	p.emulator, err = elbemu.New(c)
	must(t, err)
	server := httptest.NewServer(p.emulator)
	t.Cleanup(func() {
		server.Close()
		must(t, p.emulator.Close())
	})
	p.aws = aws.Config{Region: "us-east-1", BaseEndpoint: &server.URL, Credentials: credentials.NewStaticCredentialsProvider(key, "s", "")}
	p.restrict("")
	p.lb = p.loadBalancer("games-1", "subnet-a", p.ledger)
	p.config = app.Config{
		PoolFile: filepath.Join(p.dir, "pools.yaml"), TLSCert: filepath.Join(p.dir, "tls.crt"), TLSKey: filepath.Join(p.dir, "tls.key"), Namespace: p.namespace,
		TLSCA: filepath.Join(p.dir, "tls.crt"), TrustNamespaces: p.games + "," + p.namespace + "," + p.games, AuditEvery: 30 * time.Second,
	}
	p.pools("pools:\n- name: default\n  loadBalancers: [" + p.lb + "]\n  listenerPorts: [30000-30009]\n")
	p.certificate(x509.Certificate{DNSNames: []string{"allocator.portlease.svc"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour)})
	return p
}

// secret is where the replicas keep their certificates, where they do.
const secret = "portlease-tls"

// needed are the rights of an allocator that keeps its certificates itself. Their
// namespaces are "own" and "games"; in gives them those of a place.
func needed() []auth.Right {
	return check.RequiredRights("own", secret, []string{"own", "games"}, []string{"games", "own"})
}

func (p *place) in(r auth.Right) auth.Right {
	r.Namespace = map[string]string{"own": p.namespace, "games": p.games}[r.Namespace]
	return r
}

// serviceAccount has the rights that are needed, but for one.
func (p *place) serviceAccount(without auth.Right) *rest.Config {
	p.t.Helper()
	config, err := cluster.ServiceAccount(p.t.Context(), p.namespace, "portlease-allocator")
	must(p.t, err)
	rules := make(map[string][]rbacv1.PolicyRule) // by namespace
	for _, r := range needed() {
		if r == without {
			continue
		}
		rule := rbacv1.PolicyRule{APIGroups: []string{r.Group}, Resources: []string{r.Resource}, Verbs: []string{r.Verb}}
		if r.Name != "" {
			rule.ResourceNames = []string{r.Name}
		}
		namespace := p.in(r).Namespace
		rules[namespace] = append(rules[namespace], rule)
	}
	rbac, ctx := p.clients().RbacV1(), p.t.Context()
	subjects := []rbacv1.Subject{{Kind: "ServiceAccount", Name: "portlease-allocator", Namespace: p.namespace}}
	meta := metav1.ObjectMeta{Name: p.namespace}
	for _, namespace := range []string{p.namespace, p.games} {
		_, err = rbac.Roles(namespace).Create(ctx, &rbacv1.Role{ObjectMeta: meta, Rules: rules[namespace]}, metav1.CreateOptions{})
		must(p.t, err)
		_, err = rbac.RoleBindings(namespace).Create(ctx, &rbacv1.RoleBinding{ObjectMeta: meta, Subjects: subjects, RoleRef: rbacv1.RoleRef{Kind: "Role", Name: p.namespace}}, metav1.CreateOptions{})
		must(p.t, err)
	}
	_, err = rbac.ClusterRoles().Create(ctx, &rbacv1.ClusterRole{ObjectMeta: meta, Rules: rules[""]}, metav1.CreateOptions{})
	must(p.t, err)
	_, err = rbac.ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{ObjectMeta: meta, Subjects: subjects, RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: p.namespace}}, metav1.CreateOptions{})
	must(p.t, err)
	p.awaitRights(config, without)
	return config
}

// awaitRights waits until the API server's authorizer has seen the roles: it watches
// them.
func (p *place) awaitRights(config *rest.Config, without auth.Right) {
	p.t.Helper()
	client, err := kubernetes.NewForConfig(config)
	must(p.t, err)
	own := auth.Kubernetes{Client: client}
	must(p.t, wait.PollUntilContextTimeout(p.t.Context(), 10*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
		for _, r := range needed() {
			if r == without {
				continue
			}
			if has, err := own.Has(ctx, p.in(r)); err != nil || !has {
				return false, err
			}
		}
		return true, nil
	}))
}

// clients are an administrator's.
func (p *place) clients() kubernetes.Interface {
	p.t.Helper()
	clients, err := kubernetes.NewForConfig(cluster.AdminConfig())
	must(p.t, err)
	return clients
}

// inSecret has the key pair lie in the Secret, where there is one if there are files,
// with what is in these.
func (p *place) inSecret() {
	p.t.Helper()
	certificate, err := os.ReadFile(p.config.TLSCert)
	if !errors.Is(err, os.ErrNotExist) {
		must(p.t, err)
		key, err := os.ReadFile(p.config.TLSKey)
		must(p.t, err)
		made := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: secret}, Data: map[string][]byte{corev1.TLSCertKey: certificate, corev1.TLSPrivateKeyKey: key}}
		_, err = p.clients().CoreV1().Secrets(p.namespace).Create(p.t.Context(), made, metav1.CreateOptions{})
		must(p.t, err)
	}
	p.config.TLSSecret, p.config.TLSCert, p.config.TLSKey, p.config.TLSCA = secret, "", "", ""
}

// restrict has the allocator call AWS under its policy, without one action.
func (p *place) restrict(without string) {
	p.t.Helper()
	text, err := policies.Read(policies.Janitor, policies.Values{Partition: "aws", Region: "us-east-1", Account: "000000000000", Ledger: p.ledger})
	must(p.t, err)
	var policy map[string]any
	must(p.t, json.Unmarshal(text, &policy))
	look := policy["Statement"].([]any)[0].(map[string]any)
	look["Action"] = slices.DeleteFunc(look["Action"].([]any), func(a any) bool { return a == "elasticloadbalancing:"+without })
	text, err = json.Marshal(policy)
	must(p.t, err)
	must(p.t, p.emulator.Restrict(key, elbemu.Principal{Policy: text}))
}

func (p *place) loadBalancer(name, subnet, ledger string, change ...func(*elbv2.CreateLoadBalancerInput)) string {
	p.t.Helper()
	in := &elbv2.CreateLoadBalancerInput{Name: &name, Type: types.LoadBalancerTypeEnumNetwork, Subnets: []string{subnet}}
	if ledger != "" {
		in.Tags = []types.Tag{{Key: aws.String(elb.TagLedger), Value: &ledger}}
	}
	for _, f := range change {
		f(in)
	}
	made, err := p.admin().CreateLoadBalancer(p.t.Context(), in)
	must(p.t, err)
	arn := *made.LoadBalancers[0].LoadBalancerArn
	p.crossZone(arn, "true")
	return arn
}

func (p *place) crossZone(arn, value string) {
	p.t.Helper()
	_, err := p.admin().ModifyLoadBalancerAttributes(p.t.Context(), &elbv2.ModifyLoadBalancerAttributesInput{
		LoadBalancerArn: &arn, Attributes: []types.LoadBalancerAttribute{{Key: aws.String("load_balancing.cross_zone.enabled"), Value: &value}},
	})
	must(p.t, err)
}

// listener makes one of a ledger's games, or of somebody else.
func (p *place) listener(port int32, ledger string) {
	p.t.Helper()
	var tags []types.Tag
	if ledger != "" {
		tags = []types.Tag{{Key: aws.String(elb.TagLedger), Value: &ledger}}
	}
	group, err := p.admin().CreateTargetGroup(p.t.Context(), &elbv2.CreateTargetGroupInput{
		Name: aws.String(fmt.Sprintf("g-%d", port)), Protocol: types.ProtocolEnumTcp, Port: &port, VpcId: aws.String("vpc-a"), TargetType: types.TargetTypeEnumIp,
	})
	must(p.t, err)
	_, err = p.admin().CreateListener(p.t.Context(), &elbv2.CreateListenerInput{
		LoadBalancerArn: &p.lb, Port: &port, Protocol: types.ProtocolEnumTcp, Tags: tags,
		DefaultActions: []types.Action{{Type: types.ActionTypeEnumForward, TargetGroupArn: group.TargetGroups[0].TargetGroupArn}},
	})
	must(p.t, err)
}

func (p *place) pools(text string) {
	p.t.Helper()
	must(p.t, os.WriteFile(p.config.PoolFile, []byte(text), 0o600))
}

func (p *place) certificate(template x509.Certificate) {
	p.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(p.t, err)
	template.SerialNumber = big.NewInt(1)
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &private.PublicKey, private)
	must(p.t, err)
	encoded, err := x509.MarshalECPrivateKey(private)
	must(p.t, err)
	must(p.t, os.WriteFile(p.config.TLSCert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	must(p.t, os.WriteFile(p.config.TLSKey, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: encoded}), 0o600))
}

// row is one line of the printed table.
type row struct{ state, what, say string }

// check gives the table, and whether the check failed.
func (p *place) check() (rows []row, failed bool) {
	p.t.Helper()
	var out bytes.Buffer
	err := app.Check(p.t.Context(), p.config, app.Doors{Kube: p.kube, AWS: &p.aws}, &out)
	if err != nil && !errors.Is(err, app.ErrCheck) {
		p.t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	what, say := strings.Index(lines[0], "CHECK"), strings.Index(lines[0], "FINDING")
	for _, line := range lines[1:] {
		rows = append(rows, row{strings.TrimSpace(line[:what]), strings.TrimSpace(line[what:say]), line[say:]})
	}
	return rows, err != nil
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
