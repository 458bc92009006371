package app_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portlease/portlease/allocator/app"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/e2e/kubeapi"
	"github.com/portlease/portlease/shared/api"
)

// server is the API server of the tests that need one.
var server kubeapi.Lazy

func TestMain(m *testing.M) { os.Exit(server.Main(m.Run)) }

// world is a running allocator on the real API server and the emulated AWS. It serves
// plain HTTP on all of 127.0.0.0/8, so that each caller can have an address of its own.
type world struct {
	*testing.T
	cluster          *kubeapi.API
	namespace, games string
	port             string
	requests         *requests
	emulator         *elbemu.Emulator
	log              lines
}

// lines is a log that may be read while it is written.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements io.Writer.
func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// pools has one pool whose load balancer AWS does not know: nothing is ever granted.
const pools = `pools:
- name: default
  loadBalancers: [arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/net/games-1/0123456789abcdef]
  listenerPorts: ["30000-30009"]
`

// newWorld starts an allocator with further flags and waits until it is ready.
func newWorld(t *testing.T, flags ...string) *world {
	t.Helper()
	cluster, err := server.Get()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, cluster: cluster, requests: &requests{counts: make(map[string]int), connections: make(map[string]map[string]bool)}}
	w.namespace, err = cluster.Namespace(t.Context(), "allocator")
	w.must(err)
	w.games, err = cluster.Namespace(t.Context(), "games")
	w.must(err)
	file := filepath.Join(t.TempDir(), "pools.yaml")
	w.must(os.WriteFile(file, []byte(pools), 0o600))
	c, err := app.Parse(append([]string{"-plain-http", "-pools", file, "-namespace", w.namespace, "-identity", "replica"}, flags...), func(string) string { return "" }, io.Discard)
	w.must(err)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", "0.0.0.0:0")
	w.must(err)
	_, w.port, err = net.SplitHostPort(listener.Addr().String())
	w.must(err)
	kube := cluster.AdminConfig()
	kube.Wrap(w.requests.through)
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() {
		ended <- app.Run(ctx, c, app.Doors{Listener: listener, Kube: kube, AWS: w.cloud()}, slog.New(slog.NewTextHandler(&w.log, nil)))
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	w.eventually("the allocator to be ready", func() error {
		if status, body := w.call(http.DefaultClient, http.MethodGet, "/readyz", ""); status != http.StatusOK {
			return errors.New(body)
		}
		return nil
	})
	return w
}

// cloud is an AWS without load balancers.
func (w *world) cloud() *aws.Config {
	w.Helper()
	emulator, err := elbemu.New(elbemu.Config{
		Region:  "us-east-1",
		VPCs:    []elbemu.VPC{{ID: "vpc-a", CIDR: netip.MustParsePrefix("127.30.0.0/16")}},
		Subnets: []elbemu.Subnet{{ID: "subnet-a", CIDR: netip.MustParsePrefix("127.30.0.0/17"), Zone: "us-east-1a"}},
	})
	w.must(err)
	w.emulator = emulator
	w.Cleanup(func() { w.must(emulator.Close()) })
	return &aws.Config{
		Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider("A", "secret", ""), HTTPClient: &http.Client{Transport: emulator},
	}
}

func (w *world) must(errs ...error) {
	w.Helper()
	if err := errors.Join(errs...); err != nil {
		w.Fatal(err)
	}
}

// eventually polls check until it passes.
func (w *world) eventually(what string, check func() error) {
	w.Helper()
	w.must(kubeapi.Eventually(w.Context(), 30*time.Second, what, check))
}

// pod creates a running pod and gives its token for the allocator.
func (w *world) pod(name, ip string) (token string) {
	w.Helper()
	_, err := w.cluster.CreatePod(w.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: w.games, Name: name}})
	w.must(err, w.cluster.RunPod(w.Context(), w.games, name, ip))
	token, err = w.cluster.PodToken(w.Context(), w.games, name, api.Audience, time.Hour)
	w.must(err)
	return token
}

// from is a client whose connections come from that address.
func (w *world) from(address string) *http.Client {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	transport := &http.Transport{DialContext: dialer.DialContext}
	w.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}
}

// call makes one call and gives the status and body of any answer.
func (w *world) call(client *http.Client, method, path, token string) (status int, body string) {
	w.Helper()
	status, body, err := w.try(client, method, path, token)
	w.must(err)
	return status, body
}

// try is call for a caller that may be refused a connection.
func (w *world) try(client *http.Client, method, path, token string) (status int, body string, err error) {
	r, err := http.NewRequestWithContext(w.Context(), method, "http://127.0.0.1:"+w.port+path, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := client.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text), err
}

// requests counts what the allocator asks the API server.
type requests struct {
	mu     sync.Mutex     // guards all below
	counts map[string]int // by "METHOD path"
	// connections is user agent → the local addresses of its connections.
	connections map[string]map[string]bool
	// failing is the end of the user agent whose requests fail; empty is none.
	failing string
}

var errCutOff = errors.New("dial tcp 10.96.0.1:443: connect: connection refused")

func (r *requests) through(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(request *http.Request) (*http.Response, error) {
		client := request.UserAgent()
		r.mu.Lock()
		r.counts[request.Method+" "+request.URL.Path]++
		fails := r.failing != "" && strings.HasSuffix(client, "/"+r.failing)
		r.mu.Unlock()
		if fails {
			return nil, errCutOff
		}
		trace := httptrace.WithClientTrace(request.Context(), &httptrace.ClientTrace{GotConn: func(got httptrace.GotConnInfo) {
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.connections[client] == nil {
				r.connections[client] = make(map[string]bool)
			}
			r.connections[client][got.Conn.LocalAddr().String()] = true
		}})
		return next.RoundTrip(request.WithContext(trace))
	})
}

// cutOff lets all requests of a user agent fail; an empty one ends that.
func (r *requests) cutOff(client string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failing = client
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// count gives how many requests had that method and a path that ends so.
func (r *requests) count(method, suffix string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for request, times := range r.counts {
		if strings.HasPrefix(request, method+" ") && strings.HasSuffix(request, suffix) {
			n += times
		}
	}
	return n
}

// reviews gives how many tokens the API server was asked about.
func (w *world) reviews() int { return w.requests.count(http.MethodPost, "/tokenreviews") }
