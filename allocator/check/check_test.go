package check_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"k8s.io/client-go/rest"

	"github.com/portlease/portlease/allocator/app"
	"github.com/portlease/portlease/allocator/auth"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/elb"
)

// TestGoodInstallationPasses, and the table names what cannot be checked.
func TestGoodInstallationPasses(t *testing.T) {
	p := newPlace(t, auth.Right{}, nil)
	before := p.emulator.Snapshot()
	rows, failed := p.check()
	if failed {
		t.Error("it failed")
	}
	for _, r := range rows {
		if want := map[bool]string{true: "unchecked", false: "ok"}[r.what == "AWS: deletions"]; r.state != want {
			t.Errorf("%+v, want %s", r, want)
		}
	}
	seen := make(map[string]bool)
	for _, r := range rows {
		if seen[r.what] {
			t.Errorf("%s is there twice", r.what)
		}
		seen[r.what] = true
	}
	if len(rows) < 20 || !slices.Contains(rows, row{"ok", "ledger", p.ledger}) {
		t.Errorf("the table is %+v", rows)
	}
	before.At = time.Time{}
	after := p.emulator.Snapshot()
	after.At = time.Time{}
	if fmt.Sprint(before) != fmt.Sprint(after) {
		t.Errorf("it changed %+v to %+v", before, after)
	}
}

// TestEachFault makes one thing wrong at a time.
func TestEachFault(t *testing.T) {
	type fault struct {
		emulator func(*elbemu.Config)
		change   func(*place)
		want     row // say is a part of it
		fails    bool
	}
	day := 24 * time.Hour
	now := time.Now()
	valid := x509.Certificate{DNSNames: []string{"allocator"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(90 * day)}
	certified := func(change func(*x509.Certificate)) func(*place) {
		template := valid
		change(&template)
		return func(p *place) { p.certificate(template) }
	}
	faults := map[string]fault{
		"pool file broken":       {change: func(p *place) { p.pools("pools: []\n") }, want: row{"error", "pool file", "no pools"}, fails: true},
		"AWS with no pools":      {change: func(p *place) { p.pools("pools: []\n") }, want: row{"unchecked", "AWS", "pool file"}, fails: true},
		"no certificate":         {change: func(p *place) { must(p.t, os.Remove(p.config.TLSCert)) }, want: row{"error", "TLS key pair", "tls-cert"}, fails: true},
		"certificate over":       {change: certified(func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Minute) }), want: row{"error", "TLS key pair", "expired"}, fails: true},
		"certificate to come":    {change: certified(func(c *x509.Certificate) { c.NotBefore = now.Add(time.Hour) }), want: row{"error", "TLS key pair", "only from"}, fails: true},
		"certificate for nobody": {change: certified(func(c *x509.Certificate) { c.DNSNames = nil }), want: row{"error", "TLS key pair", "has no name"}, fails: true},
		"certificate over soon":  {change: certified(func(c *x509.Certificate) { c.NotAfter = now.Add(13 * day) }), want: row{"warning", "TLS key pair", "renew the files of tls-cert and tls-key"}},
		"no TLS":                 {change: func(p *place) { p.config.TLSCert, p.config.TLSKey, p.config.PlainHTTP = "", "", true }, want: row{"warning", "TLS key pair", "in the clear"}},
		"own certificate":        {change: func(p *place) { p.inSecret() }, want: row{"ok", "TLS key pair", "for allocator.portlease.svc, until "}},
		"own certificate to be made": {change: func(p *place) {
			must(p.t, os.Remove(p.config.TLSCert))
			p.inSecret()
		}, want: row{"ok", "TLS key pair", "the first start creates secret portlease-tls"}},
		"own certificate nonsense": {change: func(p *place) {
			must(p.t, os.WriteFile(p.config.TLSCert, []byte("nonsense"), 0o600))
			p.inSecret()
		}, want: row{"error", "TLS key pair", "renews it"}, fails: true},
		"own certificate over": {change: func(p *place) {
			certified(func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Minute) })(p)
			p.inSecret()
		}, want: row{"error", "TLS key pair", "expired"}, fails: true},
		"own certificate over soon": {change: func(p *place) {
			certified(func(c *x509.Certificate) { c.NotAfter = now.Add(13 * day) })(p)
			p.inSecret()
		}, want: row{"warning", "TLS key pair", "renews it"}},
		"own certificate and no kubeconfig": {change: func(p *place) {
			p.inSecret()
			p.kube, p.config.Kubeconfig = nil, "/nonexistent"
		}, want: row{"unchecked", "TLS key pair", "portlease-tls"}, fails: true},
		"no API server":           {change: func(p *place) { p.kube = &rest.Config{Host: "https://127.0.0.1:1"} }, want: row{"error", "ledger", "refused"}, fails: true},
		"rights of no API server": {change: func(p *place) { p.kube = &rest.Config{Host: "https://127.0.0.1:1"} }, want: row{"unchecked", "Kubernetes: get namespaces", "refused"}, fails: true},
		"tags without a ledger":   {change: func(p *place) { p.kube = &rest.Config{Host: "https://127.0.0.1:1"} }, want: row{"unchecked", "tags of games-1", "not known"}, fails: true},
		"no kubeconfig":           {change: func(p *place) { p.kube, p.config.Kubeconfig = nil, "/nonexistent" }, want: row{"error", "Kubernetes", "kubeconfig"}, fails: true},
		"no region":               {change: func(p *place) { p.aws.Region = "" }, want: row{"error", "AWS", "AWS_REGION"}, fails: true},
		"no AWS":                  {change: func(p *place) { p.aws.BaseEndpoint = aws.String("http://127.0.0.1:1") }, want: row{"unchecked", "AWS: everything else", "does not answer"}, fails: true},
		"load balancer gone": {change: func(p *place) {
			_, err := p.admin().DeleteLoadBalancer(p.t.Context(), &elbv2.DeleteLoadBalancerInput{LoadBalancerArn: &p.lb})
			must(p.t, err)
		}, want: row{"error", "load balancer games-1", "does not exist"}, fails: true},
		"load balancer not active": {emulator: func(c *elbemu.Config) { c.Delays = &elbemu.Delays{Provisioning: time.Hour} }, want: row{"error", "load balancer games-1", "provisioning"}, fails: true},
		"cross-zone off":           {change: func(p *place) { p.crossZone(p.lb, "false") }, want: row{"error", "load balancer games-1", "cross-zone"}, fails: true},
		"another VPC": {change: func(p *place) {
			p.pools("pools:\n- name: default\n  loadBalancers: [" + p.lb + ", " + p.loadBalancer("games-2", "subnet-b", p.ledger) + "]\n  listenerPorts: [30000]\n")
		}, want: row{"error", "load balancer games-2", "vpc-b"}, fails: true},
		"nothing selected": {change: func(p *place) {
			p.pools("pools:\n- name: default\n  loadBalancerTags: {team: nobody}\n  listenerPorts: [30000]\n")
		}, want: row{"error", "ports of pool default", "no port to hand out"}, fails: true},
		"nobody to ask about": {change: func(p *place) {
			p.pools("pools:\n- name: default\n  loadBalancerTags: {team: nobody}\n  listenerPorts: [30000]\n")
		}, want: row{"unchecked", "AWS: target health", "neither"}, fails: true},
		"not tagged": {change: func(p *place) {
			_, err := p.admin().RemoveTags(p.t.Context(), &elbv2.RemoveTagsInput{ResourceArns: []string{p.lb}, TagKeys: []string{elb.TagLedger}})
			must(p.t, err)
		}, want: row{"warning", "tags of games-1", "lacks portlease.dev/ledger="}},
		"tagged for another": {change: func(p *place) {
			_, err := p.admin().AddTags(p.t.Context(), &elbv2.AddTagsInput{ResourceArns: []string{p.lb}, Tags: []types.Tag{{Key: aws.String(elb.TagLedger), Value: aws.String("other/portlease")}}})
			must(p.t, err)
		}, want: row{"warning", "tags of games-1", "other/portlease"}},
		"security groups": {change: func(p *place) {
			arn := p.loadBalancer("games-2", "subnet-a", p.ledger, func(in *elbv2.CreateLoadBalancerInput) { in.SecurityGroups = []string{"sg-1"} })
			p.pools("pools:\n- name: default\n  loadBalancers: [" + arn + "]\n  listenerPorts: [30000]\n")
		}, want: row{"unchecked", "security groups of games-2", "sg-1"}},
		"internal": {change: func(p *place) {
			arn := p.loadBalancer("games-2", "subnet-a", p.ledger, func(in *elbv2.CreateLoadBalancerInput) { in.Scheme = types.LoadBalancerSchemeEnumInternal })
			p.pools("pools:\n- name: default\n  loadBalancers: [" + arn + "]\n  listenerPorts: [30000]\n")
		}, want: row{"warning", "scheme of games-2", "internal"}},
		"more ports than listeners": {change: func(p *place) {
			p.pools("pools:\n- name: default\n  loadBalancers: [" + p.lb + "]\n  listenerPorts: [30000-30059]\n")
		}, want: row{"warning", "ports of pool default", "50 can be handed out of the 60"}},
		"a port taken":                   {change: func(p *place) { p.listener(30003, "") }, want: row{"warning", "ports of pool default", "9 can be handed out of the 10"}},
		"a port taken by another ledger": {change: func(p *place) { p.listener(30003, "other/portlease") }, want: row{"warning", "ports of pool default", "9 can be handed out of the 10"}},
		"a port taken, and no ledger": {change: func(p *place) {
			p.listener(30003, "")
			p.kube = &rest.Config{Host: "https://127.0.0.1:1"}
		}, want: row{"warning", "ports of pool default", "9 can be handed out of the 10"}, fails: true},
		"a port of a game":       {change: func(p *place) { p.listener(30003, p.ledger) }, want: row{"ok", "ports of pool default", "9 can be handed out, and games have 1"}},
		"targets of games":       {change: func(p *place) { p.listener(30003, p.ledger) }, want: row{"ok", "targets of games-1", "10 may be needed"}},
		"target groups of games": {change: func(p *place) { p.listener(30003, p.ledger) }, want: row{"ok", "target groups for all ports", "1 are there and 9 more may be needed"}},
		"a port that nobody knows whose it is": {change: func(p *place) {
			p.listener(30003, p.ledger)
			p.restrict("DescribeTags")
		}, want: row{"warning", "ports of pool default", "9 can be handed out of the 10"}, fails: true},
		"all ports taken": {change: func(p *place) {
			p.pools("pools:\n- name: default\n  loadBalancers: [" + p.lb + "]\n  listenerPorts: [30000]\n")
			p.listener(30000, "")
		}, want: row{"error", "ports of pool default", "no port to hand out"}, fails: true},
		"all ports games'": {change: func(p *place) {
			p.pools("pools:\n- name: default\n  loadBalancers: [" + p.lb + "]\n  listenerPorts: [30000]\n")
			p.listener(30000, p.ledger)
		}, want: row{"warning", "ports of pool default", "the next pods wait"}},
		"far more ports than listeners": {change: func(p *place) {
			p.pools("pools:\n- name: default\n  loadBalancers: [" + p.lb + "]\n  listenerPorts: [30000-39999]\n")
		}, want: row{"warning", "listener ports 1", "10000 ports for 50 listeners"}},
		"describe calls": {change: func(*place) {}, want: row{"ok", "describe calls", "an audit makes 5 (one for each of 1 load balancers, one for every 400 of 0 target groups, 4 for targets); every 30s that is 0.2 of the 10 a second"}},
		"describe calls of many load balancers": {emulator: func(c *elbemu.Config) { c.Quotas.LoadBalancers = 100 }, change: func(p *place) {
			arns := p.lb
			for n := range 99 {
				arns += ", " + p.loadBalancer(fmt.Sprintf("more-%d", n), "subnet-a", p.ledger)
			}
			p.pools("budget: {describe: {burst: 4000, perSecond: 1000}, all: {burst: 4000, perSecond: 1000}}\npools:\n- name: default\n  loadBalancers: [" + arns + "]\n  listenerPorts: [30000]\n")
			p.config.AuditEvery = 100 * time.Millisecond
		}, want: row{"warning", "describe calls", "reads the load balancers with 206 calls, in 1 s: set audit-every to 1s at least"}},
		"few targets": {emulator: func(c *elbemu.Config) { c.Quotas.TargetsPerLoadBalancer = 9 }, want: row{"warning", "targets of games-1", "10 may be needed, of 9"}},
		"few targets with cross-zone": {emulator: func(c *elbemu.Config) { c.Quotas.Listeners = 600 }, change: func(p *place) {
			p.pools("pools:\n- name: default\n  loadBalancers: [" + p.lb + "]\n  listenerPorts: [30000-30599]\n")
		}, want: row{"warning", "targets of games-1", "600 may be needed, of 500"}},
		"few target groups": {emulator: func(c *elbemu.Config) { c.Quotas.TargetGroups = 9 }, want: row{"warning", "target groups for all ports", "raised to 10"}},
	}
	for what, action := range map[string]string{
		"AWS: limits": "DescribeAccountLimits", "AWS: target groups": "DescribeTargetGroups", "AWS: load balancers": "DescribeLoadBalancers",
		"AWS: listeners": "DescribeListeners", "AWS: tags": "DescribeTags", "AWS: target health": "DescribeTargetHealth",
	} {
		faults["no right to "+action] = fault{change: func(p *place) { p.restrict(action) }, want: row{"error", what, "elasticloadbalancing:" + action}, fails: true}
	}
	faults["no right to attributes"] = fault{change: func(p *place) { p.restrict("DescribeLoadBalancerAttributes") }, want: row{"error", "AWS: load balancers", "DescribeLoadBalancerAttributes"}, fails: true}
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t, auth.Right{}, f.emulator)
			if f.change != nil {
				f.change(p)
			}
			rows, failed := p.check()
			if failed != f.fails {
				t.Errorf("failed is %v: %+v", failed, rows)
			}
			if !slices.ContainsFunc(rows, func(r row) bool {
				return r.state == f.want.state && strings.HasPrefix(r.what, f.want.what) && strings.Contains(r.say, f.want.say)
			}) {
				t.Errorf("no row says %+v: %+v", f.want, rows)
			}
		})
	}
}

func TestTableThatCannotBePrintedIsAnError(t *testing.T) {
	p := newPlace(t, auth.Right{}, nil)
	broken, reader := io.Pipe()
	must(t, broken.Close())
	if err := app.Check(context.Background(), p.config, app.Doors{Kube: p.kube, AWS: &p.aws}, reader); err == nil || errors.Is(err, app.ErrCheck) {
		t.Errorf("it says %v", err)
	}
}

func TestLimitsThatAWSDoesNotNameAreUnchecked(t *testing.T) {
	p := newPlace(t, auth.Right{}, nil)
	named := regexp.MustCompile(`<member><Name>target[a-z-]*</Name><Max>[0-9]*</Max></member>`)
	silent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := httptest.NewRecorder()
		p.emulator.ServeHTTP(answer, r)
		w.WriteHeader(answer.Code)
		_, _ = w.Write(named.ReplaceAll(answer.Body.Bytes(), nil)) // the client's own error says that it is gone
	}))
	defer silent.Close()
	p.aws.BaseEndpoint = &silent.URL
	rows, failed := p.check()
	for _, what := range []string{"targets of load balancers", "target groups for all ports"} {
		if failed || !slices.ContainsFunc(rows, func(r row) bool { return r.state == "unchecked" && r.what == what }) {
			t.Errorf("failed is %v and %s is not unchecked: %+v", failed, what, rows)
		}
	}
}
