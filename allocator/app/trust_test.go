package app_test

import (
	"crypto/tls"
	"net/http"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/portlease/portlease/allocator/app"
	"github.com/portlease/portlease/allocator/kubetrust"
	"github.com/portlease/portlease/allocator/trust"
)

// TestReplicasThatStartAtOnceShareOneAuthority starts many without a Secret.
func TestReplicasThatStartAtOnceShareOneAuthority(t *testing.T) {
	w := newTrustWorld(t)
	replicas := make([]app.OwnCertificate, 8)
	for i := range replicas {
		replicas[i] = w.replica()
		if err := replicas[i].Ready(); err == nil {
			t.Error("a replica is ready with what nobody trusts")
		}
	}
	w.keepAtOnce(replicas)
	serving := string(w.store().Serving.Certificate)
	if n := replicas[0].HandOn(t.Context(), w.kube, w.namespace, []string{w.games}); n != 0 {
		t.Fatalf("%d namespaces are behind: %s", n, &w.log)
	}
	if n := strings.Count(w.handed(w.games), "BEGIN"); n != 1 {
		t.Errorf("%d authorities are trusted", n)
	}
	caller := w.caller(w.handed(w.games))
	for _, r := range replicas {
		w.must(r.Ready(), caller.call(w.server(r)))
	}
	restarted := w.replica()
	w.keep(restarted)
	if string(w.store().Serving.Certificate) != serving {
		t.Error("a restart makes another certificate")
	}
	w.must(caller.call(w.server(restarted)))
}

// TestReplicasThatRenewAtOnceServeTheSame has all of them find the same certificate
// near its end.
func TestReplicasThatRenewAtOnceServeTheSame(t *testing.T) {
	w := newTrustWorld(t)
	replicas := make([]app.OwnCertificate, 8)
	for i := range replicas {
		replicas[i] = w.replica()
	}
	w.keepAtOnce(replicas)
	for range 5 {
		before := w.store()
		w.now = w.now.Add(trust.ServingLife * 3 / 4)
		w.keepAtOnce(replicas)
		after := w.store()
		if string(after.Serving.Certificate) == string(before.Serving.Certificate) || string(after.Authority.Certificate) != string(before.Authority.Certificate) {
			t.Fatalf("not the certificate alone was renewed: %s", &w.log)
		}
		want, err := tls.X509KeyPair(after.Serving.Certificate, after.Serving.Key)
		w.must(err)
		for _, r := range replicas {
			if got, err := r.TLS().GetCertificate(nil); err != nil || !got.Leaf.Equal(want.Leaf) {
				t.Errorf("a replica serves what is not in the secret, %v", err)
			}
		}
	}
}

// TestARotationBreaksNobody exchanges the authority by the clock alone, while an
// agent has the certificates of before.
func TestARotationBreaksNobody(t *testing.T) {
	w := newTrustWorld(t)
	first, second := w.replica(), w.replica()
	handOn := func() {
		t.Helper()
		if n := first.HandOn(t.Context(), w.kube, w.namespace, []string{w.games}); n != 0 {
			t.Fatalf("%d namespaces are behind: %s", n, &w.log)
		}
	}
	// All of this was before now: the agent's TLS goes by the real clock.
	w.now = w.now.Add(-trust.AuthorityLife*2/3 - trust.Announce - 3*time.Hour)
	w.keep(first)
	w.now = w.now.Add(trust.AuthorityLife*2/3 + time.Hour)
	w.keep(first)
	w.keep(second)
	before := w.store()
	if len(before.Next.Certificate) == 0 {
		t.Fatalf("no next authority was made: %s", &w.log)
	}
	handOn()
	agent := w.caller(w.handed(w.games))
	w.must(agent.call(w.server(first)), agent.call(w.server(second)))

	w.now = w.now.Add(trust.Announce + time.Hour)
	w.keep(second)
	after := w.store()
	if string(after.Authority.Certificate) != string(before.Next.Certificate) || string(after.Serving.Certificate) == string(before.Serving.Certificate) {
		t.Fatalf("the next authority does not sign: %s", &w.log)
	}
	w.must(agent.call(w.server(first)), agent.call(w.server(second)))
	w.keep(first)
	handOn()
	w.must(agent.call(w.server(first)))
	agent.brought(w.handed(w.games))
	w.must(agent.call(w.server(first)), agent.call(w.server(second)))
	if n := strings.Count(w.handed(w.games), "BEGIN"); n != 2 {
		t.Errorf("%d authorities are trusted; want the present one and the former, which has not ended", n)
	}
	// And who trusts others is not fooled.
	w.must(w.kube.CoreV1().Secrets(w.namespace).Delete(t.Context(), tlsSecret, metav1.DeleteOptions{}))
	w.keep(first)
	if err := agent.call(w.server(first)); err == nil || !strings.Contains(err.Error(), "certificate signed by unknown authority") {
		t.Errorf("after the secret was thrown away: %v", err)
	}
	handOn()
	agent.brought(w.handed(w.games))
	w.must(agent.call(w.server(first)), agent.call(w.server(second)))
}

func TestBundlesArePutRight(t *testing.T) {
	w := newTrustWorld(t)
	r := w.replica()
	if n := r.HandOn(t.Context(), w.kube, w.namespace, []string{w.games}); n != 2 {
		t.Errorf("without a certificate %d namespaces are behind, want both", n)
	}
	w.keep(r)
	more, err := started.Namespace(t.Context(), "more")
	w.must(err)
	handOn := func() int {
		return r.HandOn(t.Context(), w.kube, w.namespace, []string{w.games, "gone", more})
	}
	if n := handOn(); n != 1 {
		t.Errorf("%d namespaces are behind, want the one that is not there: %s", n, &w.log)
	}
	if log := w.log.String(); strings.Count(log, "level=ERROR") != 2 || !strings.Contains(log, "namespace=gone") {
		t.Errorf("the log is %s", log)
	}
	right := w.handed(w.games)
	if right == "" || w.handed(more) != right || w.handed(w.namespace) != right {
		t.Fatal("not all namespaces are given the same")
	}
	maps := w.kube.CoreV1().ConfigMaps(w.games)
	w.must(maps.Delete(t.Context(), kubetrust.ConfigMap, metav1.DeleteOptions{}))
	handOn()
	if w.handed(w.games) != right {
		t.Error("it does not come back after a deletion")
	}
	strange := newTrustWorld(t)
	other := strange.replica()
	strange.keep(other)
	changed, err := maps.Get(t.Context(), kubetrust.ConfigMap, metav1.GetOptions{})
	w.must(err)
	changed.Data = map[string]string{kubetrust.Certificates: right + string(strange.store().Authority.Certificate), "note": "mine"}
	_, err = maps.Update(t.Context(), changed, metav1.UpdateOptions{})
	w.must(err)
	handOn()
	if w.handed(w.games) != right {
		t.Error("somebody else's authority stays")
	}
	if changed, err = maps.Get(t.Context(), kubetrust.ConfigMap, metav1.GetOptions{}); err != nil || changed.Data["note"] != "mine" {
		t.Errorf("what else was in it is gone: %v, %v", changed, err)
	}
	version := changed.ResourceVersion
	handOn()
	if changed, err = maps.Get(t.Context(), kubetrust.ConfigMap, metav1.GetOptions{}); err != nil || changed.ResourceVersion != version {
		t.Errorf("it is written although it is right, %v", err)
	}
}

// TestWithoutTheRightToTheSecret, what is served stays, and it is said.
func TestWithoutTheRightToTheSecret(t *testing.T) {
	w := newTrustWorld(t)
	r := w.replica()
	w.keep(r)
	served := w.server(r)
	r.HandOn(t.Context(), w.kube, w.namespace, []string{w.games})
	agent := w.caller(w.handed(w.games))
	powerless, err := started.ServiceAccount(t.Context(), w.namespace, "powerless")
	w.must(err)
	w.kube, err = kubernetes.NewForConfig(powerless)
	w.must(err)
	late := w.replica()
	for _, err := range []error{late.Keep(t.Context()), late.Ready()} {
		if err == nil {
			t.Error("a replica without rights is content")
		}
	}
	if err := late.Keep(t.Context()); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "secret "+tlsSecret) {
		t.Errorf("it says %v", err)
	}
	// A kubelet's probe is answered, because it trusts whatever there is; an agent is not fooled.
	probed := w.server(late)
	kubelet := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	answer, err := kubelet.Get(probed.URL)
	w.must(err, answer.Body.Close())
	if err := agent.call(probed); err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("an agent meets what nobody trusts: %v", err)
	}
	w.must(agent.call(served))
}
