package soak

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/portlease/portlease/e2e/kubeapi"
	"github.com/portlease/portlease/e2e/load/scenario"
)

var kube *kubeapi.API

func TestMain(m *testing.M) { os.Exit(scenario.RunTests(m, &kube)) }

func TestAShortSoakPassesAndManyThingsHappen(t *testing.T) {
	seed := rand.Uint64() | 1
	var text bytes.Buffer
	s, err := newSoak(t.Context(), &scenario.Stage{Kube: kube, Out: io.MultiWriter(t.Output(), &text), Progress: t.Output()}, config{given: "25s", length: 25 * time.Second, agents: 12, seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := "soak: 25s, 0 violations, 0 leftovers\n"; !strings.HasSuffix(text.String(), want) {
		t.Errorf("it does not end with %q", want)
	}
	n := s.history.counts()
	if _, made, ended := s.registry.counts(); made < 6 || ended != made {
		t.Errorf("%d pods were made and %d have ended", made, ended)
	}
	wanted := 0
	for _, f := range podFaults {
		wanted += n[f.name]
	}
	if wanted < 5 || n[portsGranted] < 6 || n[portsReleased] == 0 || n[portsFree] == 0 {
		t.Errorf("too little has happened: %v", n)
	}
	if _, err := os.Stat(s.history.folder); err == nil {
		t.Errorf("%s was not removed", s.history.folder)
	}
}

func TestAnInterruptedSoakStillChecksAtTheEnd(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "soak")
	var text bytes.Buffer
	s, err := newSoak(t.Context(), &scenario.Stage{Kube: kube, Out: io.MultiWriter(t.Output(), &text), Progress: t.Output()}, config{given: "1h", length: time.Hour, agents: 4, seed: 1, folder: folder})
	if err != nil {
		t.Fatal(err)
	}
	ctx, interrupt := context.WithTimeout(t.Context(), 3*time.Second)
	defer interrupt()
	if err := s.run(ctx); err != nil {
		t.Fatal(err)
	}
	if got := text.String(); !strings.Contains(got, "of 1h, 0 violations, 0 leftovers\n") || !strings.Contains(got, "all are deleted") {
		t.Error("it does not say what it checked")
	}
	if history, err := os.ReadFile(filepath.Join(folder, "history.log")); err != nil || !strings.Contains(string(history), "made, UID") {
		t.Errorf("the history is %q, %v", history, err)
	}
}
