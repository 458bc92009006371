package elbemu

import "time"

// SetTargetGroupLag replaces Delays.TargetGroupLag from now on.
func (e *Emulator) SetTargetGroupLag(lag time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	changed := *e.cfg.Delays // the caller of New may still have the old value
	changed.TargetGroupLag = lag
	e.cfg.Delays = &changed
}

// TargetGroupLag returns the present Delays.TargetGroupLag.
func (e *Emulator) TargetGroupLag() time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.cfg.Delays.TargetGroupLag
}

// copyAge returns how old the copy of the account is that serves a call, as far as new
// target groups are concerned. Half of the calls see an up-to-date copy. So one call may
// miss a group that an earlier call has found.
func (s *state) copyAge() time.Duration {
	lag := s.cfg.Delays.TargetGroupLag
	if lag <= 0 || s.rand.IntN(2) == 0 {
		return 0
	}
	return 1 + time.Duration(s.rand.Int64N(int64(lag)))
}

// finds reports whether the current call finds the target group, whatever the call does.
func (s *state) finds(g *targetGroup) bool {
	return !s.now.Before(g.resource.at.Add(s.behind)) && s.visible(g.resource, s.cfg.Delays.Visible)
}
