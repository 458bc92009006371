package elbemu

import (
	"maps"
	"slices"
	"time"
)

// The data plane applies every change later than the caller is told. Times in the state
// say when the data plane gets what is new. This file keeps what the data plane still has
// after it was deleted.

// goneListener is a deleted listener that still accepts flows.
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

// propagation returns the longest delay of the data plane.
func (d Delays) propagation() time.Duration {
	return max(d.ListenerUp, d.ListenerDown, d.TargetIn, d.TargetOut)
}

// up reports whether the data plane has the listener.
func (s *state) up(l *listener) bool {
	return !s.now.Before(l.resource.at.Add(s.cfg.Delays.ListenerUp))
}

// routable reports whether the data plane has the target.
func (s *state) routable(t *target) bool {
	return !t.draining() && !t.routableAt.IsZero() && !s.now.Before(t.routableAt)
}

// lingerListener is called just before the listener is deleted. A listener that is not up
// yet never comes up.
func (s *state) lingerListener(l *listener) {
	s.gone = slices.DeleteFunc(s.gone, func(g goneListener) bool { return !s.now.Before(g.until) })
	if s.cfg.Delays.ListenerDown > 0 && s.up(l) {
		s.gone = append(s.gone, goneListener{listener: *l, until: s.now.Add(s.cfg.Delays.ListenerDown)})
	}
}

// startTargets is called when an unused group gets its first listener. If the data plane
// still has the group, it keeps the targets that it has. Otherwise all targets start anew.
func (s *state) startTargets(g *targetGroup) {
	if !s.lingers(g) {
		g.gone = nil
	}
	for _, t := range g.targets {
		if t.routableAt.IsZero() || !s.lingers(g) {
			t.routableAt = s.now.Add(s.cfg.Delays.TargetIn)
		}
	}
}

// lingers reports whether the data plane still has a group that no listener uses.
func (s *state) lingers(g *targetGroup) bool {
	return !g.detachedAt.IsZero() && s.now.Before(g.detachedAt.Add(s.cfg.Delays.ListenerDown))
}

// lingerTarget is called just before the target is deregistered. A target that is not
// routable yet never gets traffic.
func (s *state) lingerTarget(g *targetGroup, t *target) {
	maps.DeleteFunc(g.gone, func(_ targetKey, gone goneTarget) bool { return !s.now.Before(gone.until) })
	if s.cfg.Delays.TargetOut == 0 || !s.routable(t) {
		return
	}
	if g.gone == nil {
		g.gone = map[targetKey]goneTarget{}
	}
	g.gone[t.targetKey] = goneTarget{
		zone: t.zone, healthy: t.health.verdict == healthy, until: s.now.Add(s.cfg.Delays.TargetOut),
	}
}
