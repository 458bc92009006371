//go:build linux

package main

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portlease/portlease/deploy/tests/policies"
	"github.com/portlease/portlease/e2e/elbemu"
)

// Access keys of AWS. The operator creates load balancers and may make all calls.
const (
	allocatorKey = "allocator"
	operatorKey  = "operator"
)

// credentialsOf gives the variables with a container's AWS credentials. If key is
// empty, the pod's UID is its access key, and identifies the session that EKS Pod
// Identity would give the pod.
func credentialsOf(key string) string {
	source := "valueFrom: {fieldRef: {fieldPath: metadata.uid}}"
	if key != "" {
		source = "value: " + key
	}
	return `
  - {name: AWS_ENDPOINT_URL, value: "http://` + emulator + `"}
  - {name: AWS_ACCESS_KEY_ID, ` + source + `}
  - {name: AWS_SECRET_ACCESS_KEY, value: anything}`
}

// sessions are the pods' sessions in AWS.
type sessions struct {
	mu     sync.Mutex
	agents []byte // the policy of agents
	known  []string
}

// grant limits the allocator and all agents to the policies of deploy/iam.
func (c *cluster) grant(ledger string) error {
	read := func(file string) ([]byte, error) {
		return policies.Read(file, policies.Values{Partition: "aws", Region: awsRegion, Account: account, Ledger: ledger, Namespace: gamesNamespace})
	}
	janitor, err := read(policies.Janitor)
	if err != nil {
		return err
	}
	if c.sessions.agents, err = read(policies.AgentPodIdentity); err != nil {
		return err
	}
	return c.aws.Restrict(allocatorKey, elbemu.Principal{Policy: janitor})
}

// signer matches the access key in a signature (AWS, "Signature Version 4").
var signer = regexp.MustCompile(`Credential=([^/]+)/`)

// identified gives a pod its session at its first call, with the tags that EKS Pod
// Identity sets and a pod cannot change. It refuses calls with the UID of a pod that
// does not exist.
func (c *cluster) identified(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if key := signer.FindStringSubmatch(r.Header.Get("Authorization")); key != nil && key[1] != allocatorKey && key[1] != operatorKey {
			if err := c.session(r, key[1]); err != nil {
				http.Error(w, err.Error(), http.StatusForbidden)
				return
			}
		}
		handler.ServeHTTP(w, r)
	})
}

func (c *cluster) session(r *http.Request, uid string) error {
	c.sessions.mu.Lock()
	defer c.sessions.mu.Unlock()
	if slices.Contains(c.sessions.known, uid) {
		return nil
	}
	pods, err := c.kube.CoreV1().Pods(metav1.NamespaceAll).List(r.Context(), metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("looking for the pod that calls: %w", err)
	}
	at := slices.IndexFunc(pods.Items, func(p corev1.Pod) bool { return string(p.UID) == uid })
	if at < 0 {
		return errors.New("no pod has the UID " + uid)
	}
	p := pods.Items[at]
	if err := c.aws.Restrict(uid, elbemu.Principal{Policy: c.sessions.agents, Tags: policies.SessionTags(p.Namespace, p.Name, uid)}); err != nil {
		return err
	}
	c.sessions.known = append(c.sessions.known, uid)
	return nil
}
