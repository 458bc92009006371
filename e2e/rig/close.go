package rig

import (
	"context"
	"errors"
	"os"
)

// Close ends every pod, waits until AWS and the ledger are empty, and stops
// everything. It returns an error if something is left over.
func (r *Rig) Close(ctx context.Context) error {
	err := r.drain(ctx)
	if err != nil {
		r.DumpLogs()
	}
	return errors.Join(err, r.stop(ctx))
}

// Abandon stops everything without a check, for systems that a test broke on purpose.
func (r *Rig) Abandon(ctx context.Context) error { return r.stop(ctx) }

// drain crashes the pods, restarts every replica, and waits until the janitor has
// reclaimed everything.
func (r *Rig) drain(ctx context.Context) error {
	for _, l := range r.allLinks() {
		l.Heal()
	}
	r.faults.clear()
	for _, p := range r.Pods() {
		if err := p.Crash(ctx); err != nil {
			return err
		}
	}
	for _, replica := range r.Replicas {
		if err := replica.Revive(ctx); err != nil {
			return err
		}
	}
	return Eventually(ctx, "nothing left over", func() error {
		return errors.Join(r.Check(ctx), r.CheckEmpty(ctx))
	})
}

// stop stops all parts.
func (r *Rig) stop(ctx context.Context) error {
	var errs []error
	for _, p := range r.Pods() {
		errs = append(errs, p.stopProcesses())
	}
	for _, replica := range r.Replicas {
		errs = append(errs, replica.Stop(ctx))
	}
	for _, l := range r.allLinks() {
		errs = append(errs, l.close())
	}
	r.mu.Lock()
	proxies := r.proxies
	r.mu.Unlock()
	for _, p := range proxies {
		errs = append(errs, p.Close())
	}
	if r.history != nil {
		r.history.stop()
	}
	if r.emulator != nil {
		errs = append(errs, r.emulator.Close(), r.Emulator.Close())
	}
	errs = append(errs, r.addresses.release())
	if r.dir != "" {
		errs = append(errs, os.RemoveAll(r.dir))
	}
	return errors.Join(errs...)
}
