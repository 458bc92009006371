package rig

import (
	"context"
	"errors"
	"os"
)

// Close ends every pod, waits until nothing is left in AWS and the ledger, and
// stops everything. Whatever is left over is an error.
func (r *Rig) Close(ctx context.Context) error {
	err := r.drain(ctx)
	if err != nil {
		r.DumpLogs()
	}
	return errors.Join(err, r.stop(ctx))
}

// Abandon stops everything as it is and checks nothing: for systems that were
// broken on purpose.
func (r *Rig) Abandon(ctx context.Context) error { return r.stop(ctx) }

// drain crashes what still runs, starts every replica again, and waits for the
// janitor.
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

// stop stops all parts without a word.
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
