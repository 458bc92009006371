package elbemu

import (
	"maps"
	"time"
)

// logLength bounds the call log; the oldest records are dropped first.
const logLength = 10000

// CallRecord is one call in the log.
type CallRecord struct {
	Seq         uint64
	Action      string
	At          time.Time // when it was applied, or when a fault prevented that
	AccessKeyID string
	Applied     bool // false if a fault prevented it
	Outcome     Outcome
}

// CallCount counts the calls of one action since the start.
type CallCount struct {
	Total     int
	Failed    int // calls that returned an error, including throttled ones
	Throttled int
}

// callLog is a ring of the latest calls, with counters of all calls.
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
		name = "unknown" // names come from clients; they must not grow the map
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

// Calls returns the latest calls, oldest first, at most 10,000.
func (e *Emulator) Calls() []CallRecord {
	e.mu.Lock()
	defer e.mu.Unlock()
	l := &e.calls
	return append(append([]CallRecord(nil), l.ring[l.oldest:]...), l.ring[:l.oldest]...)
}

// CallCounts returns the number of all calls since the start, by action.
func (e *Emulator) CallCounts() map[string]CallCount {
	e.mu.Lock()
	defer e.mu.Unlock()
	return maps.Clone(e.calls.counts)
}
