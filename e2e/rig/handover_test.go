package rig_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/portlease/portlease/agent/announce"
	"github.com/portlease/portlease/agent/ownpod"
	"github.com/portlease/portlease/e2e/rig"
)

// TestGameAndMatchmakerReadTheSameDocument checks that the game's file and the pod's
// annotations hold the same document, which agrees with AWS and the ledger.
func TestGameAndMatchmakerReadTheSameDocument(t *testing.T) {
	r := start(t, rig.Config{})
	p := newPod(t, r, "handed", "game=7777/UDP,chat=8080/TCP")
	must(t, p.WaitAnnounced(t.Context()))
	text, err := os.ReadFile(filepath.Join(p.Shared(), announce.FileClaim))
	must(t, err)
	annotations, err := p.Annotations(t.Context())
	must(t, err)
	var file, annotation announce.Document
	must(t, json.Unmarshal(text, &file), json.Unmarshal([]byte(annotations[ownpod.AnnotationClaim]), &annotation))
	one, err := json.Marshal(file)
	must(t, err)
	if string(one) != annotations[ownpod.AnnotationClaim] {
		t.Errorf("the file has %s, the pod %s", one, annotations[ownpod.AnnotationClaim])
	}
	if file.Namespace != r.Games || file.Pod != p.Name || file.PodUID != p.UID || file.LoadBalancerARN != r.LoadBalancerARNs[0] ||
		file.Endpoint != annotations[ownpod.AnnotationEndpoint] || !slices.Equal(file.Addresses, []string{"198.51.100.1", "198.51.100.2"}) {
		t.Errorf("the document is %s", one)
	}
	for i, name := range []string{"game", "chat"} {
		if port := file.Ports[i]; port.Name != name || port.TargetGroupARN == "" || port.ListenerARN == "" {
			t.Errorf("port %s is %+v", name, port)
		}
	}
	check(t, r)
}
