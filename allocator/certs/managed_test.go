package certs_test

import (
	"crypto/tls"
	"net/http"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/portlease/portlease/allocator/certs"
	"github.com/portlease/portlease/allocator/certs/kubecerts"
	"github.com/portlease/portlease/allocator/certs/pki"
)

// TestConcurrentlyStartedReplicasShareOneCA starts many without a Secret.
func TestConcurrentlyStartedReplicasShareOneCA(t *testing.T) {
	w := newWorld(t)
	replicas := make([]*certs.Managed, 8)
	for i := range replicas {
		replicas[i] = w.replica()
		if err := replicas[i].Ready(); err == nil {
			t.Error("a replica is ready with a certificate that no caller trusts")
		}
	}
	w.syncAtOnce(replicas)
	serving := string(w.keySet().Serving.Certificate)
	if n := w.publish(replicas[0], w.games); n != 0 {
		t.Fatalf("%d namespaces are outdated: %s", n, &w.log)
	}
	if n := strings.Count(w.published(w.games), "BEGIN"); n != 1 {
		t.Errorf("%d CAs are trusted", n)
	}
	caller := w.caller(w.published(w.games))
	for _, r := range replicas {
		w.must(r.Ready(), caller.call(w.server(r)))
	}
	restarted := w.replica()
	w.sync(restarted)
	if string(w.keySet().Serving.Certificate) != serving {
		t.Error("a restart creates another certificate")
	}
	w.must(caller.call(w.server(restarted)))
}

// TestConcurrentRenewalsServeTheSameCertificate has all replicas find the same
// certificate due for renewal.
func TestConcurrentRenewalsServeTheSameCertificate(t *testing.T) {
	w := newWorld(t)
	replicas := make([]*certs.Managed, 8)
	for i := range replicas {
		replicas[i] = w.replica()
	}
	w.syncAtOnce(replicas)
	for range 5 {
		before := w.keySet()
		w.now = w.now.Add(pki.ServingLifetime * 3 / 4)
		w.syncAtOnce(replicas)
		after := w.keySet()
		if string(after.Serving.Certificate) == string(before.Serving.Certificate) || string(after.CA.Certificate) != string(before.CA.Certificate) {
			t.Fatalf("not the serving certificate alone was renewed: %s", &w.log)
		}
		want, err := tls.X509KeyPair(after.Serving.Certificate, after.Serving.Key)
		w.must(err)
		for _, r := range replicas {
			if got, err := r.GetCertificate(nil); err != nil || !got.Leaf.Equal(want.Leaf) {
				t.Errorf("a replica serves another certificate than the Secret's, %v", err)
			}
		}
	}
}

// TestRotationKeepsCallersWithThePreviousBundle rotates the CA by the clock alone, while
// an agent has the previous bundle.
func TestRotationKeepsCallersWithThePreviousBundle(t *testing.T) {
	w := newWorld(t)
	first, second := w.replica(), w.replica()
	publish := func() {
		t.Helper()
		if n := w.publish(first, w.games); n != 0 {
			t.Fatalf("%d namespaces are outdated: %s", n, &w.log)
		}
	}
	// All of this was before now: the agent's TLS goes by the real clock.
	w.now = w.now.Add(-pki.CALifetime*2/3 - pki.TrustLead - 3*time.Hour)
	w.sync(first)
	w.now = w.now.Add(pki.CALifetime*2/3 + time.Hour)
	w.sync(first)
	w.sync(second)
	before := w.keySet()
	if len(before.NextCA.Certificate) == 0 {
		t.Fatalf("no next CA was created: %s", &w.log)
	}
	publish()
	agent := w.caller(w.published(w.games))
	w.must(agent.call(w.server(first)), agent.call(w.server(second)))

	w.now = w.now.Add(pki.TrustLead + time.Hour)
	w.sync(second)
	after := w.keySet()
	if string(after.CA.Certificate) != string(before.NextCA.Certificate) || string(after.Serving.Certificate) == string(before.Serving.Certificate) {
		t.Fatalf("the next CA does not sign: %s", &w.log)
	}
	w.must(agent.call(w.server(first)), agent.call(w.server(second)))
	w.sync(first)
	publish()
	w.must(agent.call(w.server(first)))
	agent.refresh(w.published(w.games))
	w.must(agent.call(w.server(first)), agent.call(w.server(second)))
	if n := strings.Count(w.published(w.games), "BEGIN"); n != 2 {
		t.Errorf("%d CAs are trusted; want the current one and the previous one, which has not expired", n)
	}
	// And a caller that trusts other CAs is not fooled.
	w.must(w.kube.CoreV1().Secrets(w.namespace).Delete(t.Context(), tlsSecret, metav1.DeleteOptions{}))
	w.sync(first)
	if err := agent.call(w.server(first)); err == nil || !strings.Contains(err.Error(), "certificate signed by unknown authority") {
		t.Errorf("after the Secret was deleted: %v", err)
	}
	publish()
	agent.refresh(w.published(w.games))
	w.must(agent.call(w.server(first)), agent.call(w.server(second)))
}

func TestPublisherRestoresTheBundles(t *testing.T) {
	w := newWorld(t)
	r := w.replica()
	if n := w.publish(r, w.games); n != 2 {
		t.Errorf("without a certificate %d namespaces are outdated, want both", n)
	}
	w.sync(r)
	more, err := w.cluster.Namespace(t.Context(), "more")
	w.must(err)
	publish := func() int {
		return w.publish(r, w.games, "gone", more)
	}
	if n := publish(); n != 1 {
		t.Errorf("%d namespaces are outdated, want the missing one: %s", n, &w.log)
	}
	if log := w.log.String(); strings.Count(log, "level=ERROR") != 2 || !strings.Contains(log, "namespace=gone") {
		t.Errorf("the log is %s", log)
	}
	right := w.published(w.games)
	if right == "" || w.published(more) != right || w.published(w.namespace) != right {
		t.Fatal("not all namespaces have the same bundle")
	}
	maps := w.kube.CoreV1().ConfigMaps(w.games)
	w.must(maps.Delete(t.Context(), kubecerts.ConfigMap, metav1.DeleteOptions{}))
	publish()
	if w.published(w.games) != right {
		t.Error("it is not restored after a deletion")
	}
	strange := newWorld(t)
	other := strange.replica()
	strange.sync(other)
	changed, err := maps.Get(t.Context(), kubecerts.ConfigMap, metav1.GetOptions{})
	w.must(err)
	changed.Data = map[string]string{kubecerts.Certificates: right + string(strange.keySet().CA.Certificate), "note": "mine"}
	_, err = maps.Update(t.Context(), changed, metav1.UpdateOptions{})
	w.must(err)
	publish()
	if w.published(w.games) != right {
		t.Error("a foreign CA stays")
	}
	if changed, err = maps.Get(t.Context(), kubecerts.ConfigMap, metav1.GetOptions{}); err != nil || changed.Data["note"] != "mine" {
		t.Errorf("another key of the ConfigMap is gone: %v, %v", changed, err)
	}
	version := changed.ResourceVersion
	publish()
	if changed, err = maps.Get(t.Context(), kubecerts.ConfigMap, metav1.GetOptions{}); err != nil || changed.ResourceVersion != version {
		t.Errorf("it is written although nothing has changed, %v", err)
	}
}

// TestForeignCAInAConfigMapIsNeverTrusted, in the allocator's own namespace either: the
// ConfigMaps are output, and many may write them.
func TestForeignCAInAConfigMapIsNeverTrusted(t *testing.T) {
	w := newWorld(t)
	r := w.replica()
	w.sync(r)
	w.publish(r, w.games)
	right := w.published(w.games)
	stranger := newWorld(t)
	other := stranger.replica()
	stranger.sync(other)
	foreign := string(stranger.keySet().CA.Certificate)
	for _, namespace := range []string{w.namespace, w.games} {
		maps := w.kube.CoreV1().ConfigMaps(namespace)
		changed, err := maps.Get(t.Context(), kubecerts.ConfigMap, metav1.GetOptions{})
		w.must(err)
		changed.Data[kubecerts.Certificates] += foreign
		_, err = maps.Update(t.Context(), changed, metav1.UpdateOptions{})
		w.must(err)
	}
	for range 2 {
		if n := w.publish(r, w.games); n != 0 {
			t.Fatalf("%d namespaces are outdated: %s", n, &w.log)
		}
		for _, namespace := range []string{w.namespace, w.games} {
			if w.published(namespace) != right {
				t.Errorf("the foreign CA is trusted in %s", namespace)
			}
		}
	}
}

// TestReplicaWithoutTheRightToTheSecretIsNotReady, and the others keep serving.
func TestReplicaWithoutTheRightToTheSecretIsNotReady(t *testing.T) {
	w := newWorld(t)
	r := w.replica()
	w.sync(r)
	served := w.server(r)
	w.publish(r, w.games)
	agent := w.caller(w.published(w.games))
	powerless, err := w.cluster.ServiceAccount(t.Context(), w.namespace, "powerless")
	w.must(err)
	w.kube, err = kubernetes.NewForConfig(powerless)
	w.must(err)
	late := w.replica()
	for _, err := range []error{late.Sync(t.Context()), late.Ready()} {
		if err == nil {
			t.Error("a replica without rights succeeds")
		}
	}
	if err := late.Sync(t.Context()); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "secret "+tlsSecret) {
		t.Errorf("it says %v", err)
	}
	// The kubelet verifies nothing, so its probes are answered; an agent is not fooled.
	probed := w.server(late)
	kubelet := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	answer, err := kubelet.Get(probed.URL)
	w.must(err, answer.Body.Close())
	if err := agent.call(probed); err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("an agent and a certificate that no caller trusts: %v", err)
	}
	w.must(agent.call(served))
}
