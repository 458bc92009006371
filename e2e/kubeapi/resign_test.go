package kubeapi

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestTokenAt shows that the time alone decides whether such a token is accepted.
func TestTokenAt(t *testing.T) {
	namespace := newNamespace(t)
	if _, err := shared.CreatePod(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "game-9"}}); err != nil {
		t.Fatal(err)
	}
	issued := podToken(t, namespace, "game-9", "portlease") // for an hour
	for earlier, good := range map[time.Duration]bool{0: true, 30 * time.Minute: true, 2 * time.Hour: false, -2 * time.Hour: false} {
		token, err := shared.TokenAt(issued, earlier)
		if err != nil {
			t.Fatal(err)
		}
		if status := review(t, token, "portlease"); status.Authenticated != good {
			t.Errorf("issued %v earlier: authenticated is %v: %s", earlier, status.Authenticated, status.Error)
		}
	}
	if _, err := shared.TokenAt("nonsense", 0); err == nil {
		t.Error("took nonsense for a token")
	}
}
