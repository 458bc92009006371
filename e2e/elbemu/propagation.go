package elbemu

import (
	"maps"
	"slices"
	"time"
)

// The data plane learns of every change later than the caller does. What the
// state has and the data plane has not yet is told by times in the state; what
// only the data plane still has is kept here.

// goneListener is a deleted listener that still takes flows.
type goneListener struct {
	listener
	until time.Time
}

// goneTarget is a deregistered target that still gets flows.
type goneTarget struct {
	zone    string
	healthy bool // when it was deregistered
	until   time.Time
}

// propagation is the longest time that the data plane is behind.
func (d Delays) propagation() time.Duration {
	return max(d.ListenerUp, d.ListenerDown, d.TargetIn, d.TargetOut)
}

// up tells whether the data plane has the listener.
func (s *state) up(l *listener) bool {
	return !s.now.Before(l.resource.at.Add(s.cfg.Delays.ListenerUp))
}

// in tells whether the data plane has the target.
func (s *state) in(t *target) bool {
	return !t.draining() && !t.inAt.IsZero() && !s.now.Before(t.inAt)
}

// lingerListener is called just before the listener is deleted. One that was
// not up yet never will be.
func (s *state) lingerListener(l *listener) {
	s.gone = slices.DeleteFunc(s.gone, func(g goneListener) bool { return !s.now.Before(g.until) })
	if s.cfg.Delays.ListenerDown > 0 && s.up(l) {
		s.gone = append(s.gone, goneListener{listener: *l, until: s.now.Add(s.cfg.Delays.ListenerDown)})
	}
}

// introduce is called when a listener begins to use a group that none used.
// The data plane keeps what it still has of it, and has forgotten all else.
func (s *state) introduce(g *targetGroup) {
	if !s.lingers(g) {
		g.gone = nil
	}
	for _, t := range g.targets {
		if t.inAt.IsZero() || !s.lingers(g) {
			t.inAt = s.now.Add(s.cfg.Delays.TargetIn)
		}
	}
}

// lingers tells whether the data plane still has a group that no listener uses
// any more.
func (s *state) lingers(g *targetGroup) bool {
	return !g.detachedAt.IsZero() && s.now.Before(g.detachedAt.Add(s.cfg.Delays.ListenerDown))
}

// lingerTarget is called just before the target is deregistered. One that was
// not in yet never will be.
func (s *state) lingerTarget(g *targetGroup, t *target) {
	maps.DeleteFunc(g.gone, func(_ targetKey, gone goneTarget) bool { return !s.now.Before(gone.until) })
	if s.cfg.Delays.TargetOut == 0 || !s.in(t) {
		return
	}
	if g.gone == nil {
		g.gone = map[targetKey]goneTarget{}
	}
	g.gone[t.targetKey] = goneTarget{
		zone: t.zone, healthy: t.health.verdict == healthy, until: s.now.Add(s.cfg.Delays.TargetOut),
	}
}
