//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/deploy/tests/chart"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/elb"
)

// Short times make the stories fast. In production a claim lasts two minutes.
const (
	claimDuration = 20 * time.Second
	renewEvery    = 5 * time.Second
)

// cluster is the machine with the project installed. The stories use it.
type cluster struct {
	*machine
	kube          kubernetes.Interface
	helm          *chart.Helm
	aws           *elbemu.Emulator
	operator      *elbv2.Client // the load balancers are the operator's
	sessions      sessions
	loadBalancers []string
}

// kubectl runs kubectl as the cluster's administrator.
func (m *machine) kubectl(ctx context.Context, args ...string) (string, error) {
	return output(ctx, "/", filepath.Join(m.Programs, "kubectl"), append([]string{"--kubeconfig", m.kubeconfig("admin")}, args...)...)
}

func (m *machine) startDNS() error {
	_, err := m.start("coredns", exec.Command(m.CoreDNS, "-conf", m.file("Corefile")))
	return err
}

// install starts the emulated load balancers, installs the chart as an operator
// would, and waits until the allocator serves.
func (m *machine) install(ctx context.Context) (*cluster, error) {
	c := &cluster{machine: m}
	config, err := clientcmd.BuildConfigFromFlags("", m.kubeconfig("admin"))
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	config.QPS = -1
	if c.kube, err = kubernetes.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("making a client of the cluster: %w", err)
	}
	if err := c.startEmulator(ctx); err != nil {
		return nil, err
	}
	values := m.file("values.yaml")
	if err := os.WriteFile(values, []byte(c.values()), 0o600); err != nil {
		return nil, fmt.Errorf("writing the chart's values: %w", err)
	}
	for _, args := range [][]string{{"create", "namespace", "games"}, {"create", "serviceaccount", "game", "--namespace", "games"}} {
		if _, err := m.kubectl(ctx, args...); err != nil {
			return nil, err
		}
	}
	if c.helm, err = chart.Build(ctx, os.Stderr, m.file("helm"), m.kubeconfig("admin")); err != nil {
		return nil, err
	}
	if _, err := c.helm.Run(ctx, "install", chart.Release, chart.Folder(), "--namespace", chart.Namespace, "--create-namespace",
		"--values", values, "--wait", "--timeout", "2m"); err != nil {
		pods, _ := m.kubectl(ctx, "describe", "pods", "--namespace", chart.Namespace)
		return nil, fmt.Errorf("%w\n%s", err, pods)
	}
	return c, nil
}

func (c *cluster) values() string {
	return fmt.Sprintf(`
pools:
  pools:
  - name: default
    loadBalancers: [%s]
    listenerPorts: ["30000-30019"]
    cooldown: 2s
    sticky: 1m
    namespaces: [games]
games:
- {namespace: games, serviceAccounts: [game]}
aws: {region: %s}
allocator:
  settings: {claim-duration: %v, renew-every: %v, audit-every: 5s, target-group-lag: 5s, in-use-window: 0s, propagation: 0s}
  env:%s
injection:
  env:%s
`, strings.Join(c.loadBalancers, ", "), awsRegion, claimDuration, renewEvery, credentialsOf(allocatorKey), credentialsOf(""))
}

func (c *cluster) startEmulator(ctx context.Context) error {
	var err error
	c.aws, err = elbemu.New(elbemu.Config{
		Region: awsRegion, Account: account, DataPlane: true,
		VPCs:    []elbemu.VPC{{ID: "vpc-node", CIDR: netip.MustParsePrefix("10.244.0.0/16")}},
		Subnets: []elbemu.Subnet{{ID: "subnet-a", CIDR: netip.MustParsePrefix(podCIDR), Zone: awsRegion + "a"}, {ID: "subnet-b", CIDR: netip.MustParsePrefix("10.244.1.0/24"), Zone: awsRegion + "b"}},
	})
	if err != nil {
		return fmt.Errorf("making the emulator: %w", err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", emulator)
	if err != nil {
		return fmt.Errorf("listening for the emulator: %w", err)
	}
	server := &http.Server{Handler: c.identified(c.aws), ReadHeaderTimeout: 10 * time.Second}
	go server.Serve(listener) //nolint:errcheck // it ends with this process
	c.operator = elbv2.NewFromConfig(aws.Config{
		Region: awsRegion, Credentials: credentials.NewStaticCredentialsProvider(operatorKey, "anything", ""), BaseEndpoint: aws.String("http://" + emulator),
	})
	system, err := c.kube.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading what the ledger's id is made of: %w", err)
	}
	id := ledger.ID(string(system.UID), chart.Namespace)
	if err := c.grant(id); err != nil {
		return err
	}
	for i := range 2 {
		arn, err := makeLoadBalancer(ctx, c.operator, fmt.Sprintf("games-%d", i+1), id)
		if err != nil {
			return err
		}
		c.loadBalancers = append(c.loadBalancers, arn)
	}
	return nil
}

// makeLoadBalancer creates a load balancer for the pool of a ledger.
func makeLoadBalancer(ctx context.Context, client *elbv2.Client, name, ledger string) (string, error) {
	made, err := client.CreateLoadBalancer(ctx, &elbv2.CreateLoadBalancerInput{
		Name: &name, Type: types.LoadBalancerTypeEnumNetwork, Subnets: []string{"subnet-a", "subnet-b"},
		Tags: []types.Tag{{Key: aws.String(elb.TagLedger), Value: &ledger}},
	})
	if err != nil {
		return "", fmt.Errorf("creating load balancer %s: %w", name, err)
	}
	arn := aws.ToString(made.LoadBalancers[0].LoadBalancerArn)
	return arn, setCrossZone(ctx, client, arn, true)
}

func setCrossZone(ctx context.Context, client *elbv2.Client, loadBalancer string, on bool) error {
	if _, err := client.ModifyLoadBalancerAttributes(ctx, &elbv2.ModifyLoadBalancerAttributesInput{
		LoadBalancerArn: &loadBalancer,
		Attributes:      []types.LoadBalancerAttribute{{Key: aws.String("load_balancing.cross_zone.enabled"), Value: aws.String(strconv.FormatBool(on))}},
	}); err != nil {
		return fmt.Errorf("setting cross-zone of %s to %t: %w", loadBalancer, on, err)
	}
	return nil
}

// errStories says that a story failed. play has already printed which one.
var errStories = errors.New("stories failed")

// play installs the project and runs the stories.
func (m *machine) play(ctx context.Context) error {
	fmt.Println("e2e-node: the node is ready; installing the chart …")
	c, err := m.install(ctx)
	if err != nil {
		return err
	}
	ran, failed := 0, 0
	for _, s := range stories {
		if !strings.Contains(s.name, m.Only) && !s.always || s.ends && m.Hold {
			continue
		}
		ran++
		begun := time.Now()
		err := s.run(ctx, c)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		verdict := "ok    "
		if err != nil {
			verdict = "FAILED"
			failed++
		}
		fmt.Printf("%s %5.1fs  %s\n", verdict, time.Since(begun).Seconds(), s.name)
		if err != nil {
			fmt.Printf("        %s\n", strings.ReplaceAll(err.Error(), "\n", "\n        "))
		}
	}
	fmt.Printf("e2e-node: %d stories, %d failed\n", ran, failed)
	if m.Hold {
		// In its own namespace this process has id 1, so the hint searches for it by
		// name.
		fmt.Printf("e2e-node: staying up; from another shell:\n  nsenter --net=/proc/$(pgrep -f %s)/ns/net %s --kubeconfig %s get pods -A\n", m.file(stageMachine+".json"), filepath.Join(m.Programs, "kubectl"), m.kubeconfig("admin"))
		<-ctx.Done()
	}
	if failed > 0 {
		return errStories
	}
	return nil
}
