package lifecycle_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing/synctest"
	"time"

	"github.com/portlease/portlease/shared/elb"
)

// await waits until a condition holds, at most an hour.
func (w *world) await(what string, condition func() bool) {
	w.t.Helper()
	for range 36000 {
		synctest.Wait()
		if condition() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	w.t.Fatalf("an hour passed without: %s", what)
}

func (w *world) awaitReady(p *process) {
	w.t.Helper()
	w.await("ready", func() bool { return p.Ready() == nil })
}

// announced is the endpoint that the game server reads; empty without one.
func (w *world) announced() string {
	text, err := os.ReadFile(filepath.Join(w.dir, "endpoint"))
	if errors.Is(err, os.ErrNotExist) {
		return ""
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// checkBound asserts that the account has exactly one complete binding for each of the
// listener ports: this pod is the only target, and all parts carry the tags of the
// ledger's fence.
func (w *world) checkBound(ports ...int) {
	w.t.Helper()
	claim := w.ledger.now()
	listeners := must[[]elb.Listener](w)(w.aws.Listeners(w.t.Context(), w.lb))
	groups := must[[]elb.TargetGroup](w)(w.aws.TargetGroups(w.t.Context()))
	if len(listeners) != len(ports) || len(groups) != len(ports) || len(claim.Ports) != len(ports) {
		w.t.Errorf("there are %d listeners, %d target groups and %d claimed ports; want %d of each", len(listeners), len(groups), len(claim.Ports), len(ports))
		return
	}
	for n, p := range claim.Ports {
		if p.ListenerPort != ports[n] {
			w.t.Errorf("port %q is claimed on %d, want %d", p.Name, p.ListenerPort, ports[n])
		}
		at := slices.IndexFunc(listeners, func(l elb.Listener) bool { return l.Port == p.ListenerPort })
		if at < 0 || p.ListenerARN != listeners[at].ARN || !slices.Equal(listeners[at].TargetGroupARNs, []string{p.TargetGroupARN}) {
			w.t.Errorf("listeners are %+v, the ledger has %+v", listeners, p)
			continue
		}
		targets := must[[]elb.Target](w)(w.aws.Targets(w.t.Context(), p.TargetGroupARN))
		targets = slices.DeleteFunc(targets, elb.Target.Draining)
		if len(targets) != 1 || targets[0].IP != w.pod.IP || targets[0].Port != p.TargetPort {
			w.t.Errorf("targets of port %d are %+v", p.ListenerPort, targets)
		}
		tags := must[map[string]map[string]string](w)(w.aws.Tags(w.t.Context(), p.ListenerARN, p.TargetGroupARN))
		for arn, m := range tags {
			if got, ok := elb.ReadTags(m); !ok || got != elb.TagsOf(claim, p.Fence) {
				w.t.Errorf("%s carries %v", arn, m)
			}
		}
	}
}

// checkEmpty asserts that no listener and no target group is left.
func (w *world) checkEmpty() {
	w.t.Helper()
	if listeners := must[[]elb.Listener](w)(w.aws.Listeners(w.t.Context(), w.lb)); len(listeners) != 0 {
		w.t.Errorf("listeners are left: %+v", listeners)
	}
	if groups := must[[]elb.TargetGroup](w)(w.aws.TargetGroups(w.t.Context())); len(groups) != 0 {
		w.t.Errorf("target groups are left: %+v", groups)
	}
}

func must[T any](w *world) func(T, error) T {
	return func(v T, err error) T {
		w.t.Helper()
		if err != nil {
			w.t.Fatal(err)
		}
		return v
	}
}
