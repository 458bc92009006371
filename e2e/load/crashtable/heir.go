package crashtable

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/rig"
)

// inherit gives the ports to another pod of the same name, and lets the late call
// arrive then.
func (t trial) inherit(ctx context.Context, p *rig.Pod, had []string, f *fault) (err error) {
	if err := until(ctx, "the ports to be free", func() error { return t.free(ctx, had) }); err != nil {
		return err
	}
	heir, err := t.NewPod(ctx, p.Name, t.ports)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, heir.Crash(context.WithoutCancel(ctx))) }()
	if err := heir.Start(); err != nil {
		return err
	}
	if err := until(ctx, "the heir to be bound", func() error { return t.bound(ctx, heir) }); err != nil {
		return err
	}
	has, err := portNames(ctx, heir)
	if err != nil {
		return err
	}
	if len(had) > 0 && !slices.Equal(had, has) {
		return fmt.Errorf("the heir of %v has %v", had, has)
	}
	before, err := t.state(ctx, heir)
	if err != nil {
		return err
	}
	if err := f.arrive(ctx, anothers); err != nil {
		return err
	}
	// What the late call may have made is taken back, and the heir is as before.
	if err := until(ctx, "nothing of the former pod to be left", func() error { return t.CheckGone(ctx, p) }); err != nil {
		return err
	}
	after, err := t.state(ctx, heir)
	if err != nil {
		return err
	}
	if !slices.Equal(before, after) {
		return fmt.Errorf("the heir had\n%s\nand has\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
	if err := t.bound(ctx, heir); err != nil {
		return err
	}
	return heir.Terminate(ctx)
}

func (t trial) free(ctx context.Context, ports []string) error {
	for _, name := range ports {
		port, err := t.Port(ctx, name)
		if err != nil {
			return err
		}
		if port.Value.State != ledger.Free {
			return fmt.Errorf("port %s is %s", name, port.Value.State)
		}
	}
	return nil
}

// state is all that a pod has and says.
func (t trial) state(ctx context.Context, p *rig.Pod) (rig.Binding, error) {
	b, err := t.BindingOf(ctx, p)
	if err != nil {
		return nil, err
	}
	annotations, err := p.Annotations(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"portlease.dev/endpoint", "portlease.dev/claim"} {
		if annotations[name] == "" {
			return nil, fmt.Errorf("the pod has no annotation %s", name)
		}
		b = append(b, name+" "+annotations[name])
	}
	return b, nil
}
