package elbemu

import (
	"maps"
	"time"
)

// logLength bounds the call log; the oldest records go first.
const logLength = 10000

// CallRecord is one call of the log.
type CallRecord struct {
	Seq         uint64
	Action      string
	At          time.Time // when it was applied, or kept from being applied
	AccessKeyID string
	Applied     bool // false when a fault kept it from the state
	Outcome     Outcome
}

// CallCount counts the calls of one action since the start.
type CallCount struct {
	Total     int
	Failed    int // answered an error, throttled ones included
	Throttled int
}

// callLog is a ring of the last calls, and counters that forget nothing.
type callLog struct {
	ring   []CallRecord
	oldest int
	counts map[string]CallCount
}

func (l *callLog) add(call Call, at time.Time, outcome Outcome, applied bool) {
	record := CallRecord{Seq: call.Seq, Action: call.Action, At: at, AccessKeyID: call.AccessKeyID, Applied: applied, Outcome: outcome}
	if len(l.ring) < logLength {
		l.ring = append(l.ring, record)
	} else {
		l.ring[l.oldest] = record
		l.oldest = (l.oldest + 1) % logLength
	}
	if l.counts == nil {
		l.counts = map[string]CallCount{}
	}
	name := call.Action
	if _, known := actions[name]; !known {
		name = "unknown" // names come from outside; they must not grow the map
	}
	count := l.counts[name]
	count.Total++
	if !outcome.OK() {
		count.Failed++
	}
	if outcome.Code == codeThrottling || outcome.Code == codeThrottlingException {
		count.Throttled++
	}
	l.counts[name] = count
}

// Calls are the newest calls, oldest first, at most 10,000.
func (e *Emulator) Calls() []CallRecord {
	e.mu.Lock()
	defer e.mu.Unlock()
	l := &e.calls
	return append(append([]CallRecord(nil), l.ring[l.oldest:]...), l.ring[:l.oldest]...)
}

// CallCounts counts all calls since the start by action.
func (e *Emulator) CallCounts() map[string]CallCount {
	e.mu.Lock()
	defer e.mu.Unlock()
	return maps.Clone(e.calls.counts)
}
