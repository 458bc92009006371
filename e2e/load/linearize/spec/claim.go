package spec

import (
	"strings"

	"github.com/portlease/portlease/shared/api"
)

// phase is the state of one pod's claim as its calls can observe it.
type phase string

const (
	// noPorts is a pod without ports: it has no claim, or one that waits.
	noPorts phase = "no ports"
	// live is a claim that has its ports and keeps them until it is released.
	live phase = "live"
	// moving is a claim that had to leave a port and whose next are not known.
	moving phase = "moving"
	// releasing is a claim whose release has begun. No pod is told when it is deleted,
	// so from here on a new claim may begin at any time.
	releasing phase = "releasing"
)

// claimState is the claim of one pod. The first claim begins at the zero value.
type claimState struct {
	phase phase
	uid   string
	// ports of a live claim.
	ports string
	// left is the holding that a moving claim must not come back to. The port may
	// be given to it anew by a replica that has not seen the listener there.
	left string
	// dead are the UIDs of claims that are over.
	dead string
}

func (s claimState) isDead(uid string) bool { return strings.Contains(s.dead, uid) }

// over returns the state after a releasing claim was deleted.
func (s claimState) over() claimState { return claimState{phase: noPorts, dead: s.dead + s.uid + " "} }

// claimSteps gives every state that a claim may be in after the operation; none
// if it could not have been answered so.
func claimSteps(s claimState, o Op) []claimState {
	next, legal := claimStep(s, o)
	switch {
	case o.Outcome == Refused || o.Outcome == Unknown:
		o.Outcome = Done
		if o.Verb == Collision {
			// Where the claim would move to is not known.
			o.Outcome = Exhausted
		}
		if o.Verb != Release && o.Verb != Collision {
			return []claimState{s}
		}
		if next, legal = claimStep(s, o); legal && next != s {
			return []claimState{s, next}
		}
		return []claimState{s}
	case legal && o.Verb == Collision && o.Outcome == Exhausted && s.phase == live && strings.Count(s.ports, " ") > 1:
		// What else it has is not given up for a port that cannot be had now.
		return []claimState{s, next}
	case legal:
		return []claimState{next}
	}
	return nil
}

func claimStep(s claimState, o Op) (claimState, bool) {
	switch o.Verb {
	case Put:
		return putStep(s, o)
	case Renew:
		return renewStep(s, o)
	case Collision:
		return collisionStep(s, o)
	case Release:
		return releaseStep(s, o)
	case Delete:
		return s, o.Outcome == Done // it reports; only release ends a claim
	}
	return s, false
}

// putStep: the first PUT is granted or told exhausted; every later one gets the
// very same claim until that is released.
func putStep(s claimState, o Op) (claimState, bool) {
	switch o.Outcome {
	case Done:
		granted := claimState{phase: live, uid: o.UID, ports: o.ports(), dead: s.dead}
		if s.phase == releasing {
			granted.dead = s.over().dead
		}
		switch s.phase {
		case noPorts, releasing:
			return granted, o.sound() && !granted.isDead(o.UID)
		case live:
			return s, o.UID == s.uid && o.ports() == s.ports
		case moving:
			return granted, o.sound() && o.UID == s.uid && !o.shows(s.left)
		}
	case Exhausted:
		if s.phase == releasing {
			s = s.over()
		}
		return s, s.phase != live
	case Releasing:
		return s, s.phase == releasing
	default:
	}
	return s, false
}

// renewStep: a claim that was granted and not released is never lost.
func renewStep(s claimState, o Op) (claimState, bool) {
	same := o.Claim == s.uid
	switch o.Outcome {
	case Done:
		switch s.phase {
		case live:
			return s, same && o.UID == s.uid && o.ports() == s.ports
		case moving:
			answered := claimState{phase: live, uid: s.uid, ports: o.ports(), dead: s.dead}
			return answered, same && o.UID == s.uid && o.sound() && !o.shows(s.left)
		default:
		}
	case Lost:
		return s, !same || s.phase != live
	case Releasing:
		return s, s.phase == releasing
	default:
	}
	return s, false
}

// collisionStep: only a real foreign listener moves a claim.
func collisionStep(s claimState, o Op) (claimState, bool) {
	same, named := o.Claim == s.uid, s.lists(o.Fence)
	answered := claimState{phase: live, uid: s.uid, ports: o.ports(), dead: s.dead}
	left := claimState{phase: moving, uid: s.uid, left: fenceKey(o.Fence), dead: s.dead}
	switch o.Outcome {
	case Done:
		switch {
		case !same || o.UID != s.uid || !o.sound():
			return s, false
		case s.phase == moving:
			return answered, !o.shows(s.left)
		case s.phase == live && named && o.Foreign:
			return answered, !o.lists(o.Fence.Lease)
		case s.phase == live:
			return s, o.ports() == s.ports
		}
	case Exhausted:
		switch {
		case s.phase == moving:
			return s, same
		case s.phase == live && same && named && o.Foreign:
			return left, true
		}
	case Lost:
		return s, !same || s.phase != live || !named
	case Releasing:
		return s, s.phase == releasing
	default:
	}
	return s, false
}

func (s claimState) lists(f api.Fence) bool { return listed(s.ports, fenceKey(f)) }

// releaseStep: a release begins once, may be repeated, and says lost as soon as
// the claim is forgotten.
func releaseStep(s claimState, o Op) (claimState, bool) {
	same := o.Claim == s.uid && s.phase != noPorts
	switch o.Outcome {
	case Done:
		s.phase, s.ports, s.left = releasing, "", ""
		return s, same
	case Lost:
		switch {
		case !same:
			return s, true
		case s.phase == releasing:
			return s.over(), true
		}
	default:
	}
	return s, false
}
