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

// succeed gives the ports to another pod of the same name, and then delivers the
// delayed call.
func (t trial) succeed(ctx context.Context, p *rig.Pod, had []string, f *fault) (err error) {
	if err := until(ctx, "the ports to be free", func() error { return t.free(ctx, had) }); err != nil {
		return err
	}
	successor, err := t.NewPod(ctx, p.Name, t.ports)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, successor.Crash(context.WithoutCancel(ctx))) }()
	if err := successor.Start(); err != nil {
		return err
	}
	if err := until(ctx, "the successor to be bound", func() error { return t.bound(ctx, successor) }); err != nil {
		return err
	}
	has, err := portNames(ctx, successor)
	if err != nil {
		return err
	}
	if len(had) > 0 && !slices.Equal(had, has) {
		return fmt.Errorf("the successor of %v has %v", had, has)
	}
	before, err := t.state(ctx, successor)
	if err != nil {
		return err
	}
	if err := f.arrive(ctx, heldByAnother); err != nil {
		return err
	}
	// The janitor removes what the late call may have created; the successor is as
	// before.
	if err := until(ctx, "nothing of the previous pod to be left", func() error { return t.CheckGone(ctx, p) }); err != nil {
		return err
	}
	after, err := t.state(ctx, successor)
	if err != nil {
		return err
	}
	if !slices.Equal(before, after) {
		return fmt.Errorf("the successor had\n%s\nand has\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
	if err := t.bound(ctx, successor); err != nil {
		return err
	}
	return successor.Terminate(ctx)
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

// state returns everything that a pod has and announces.
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
