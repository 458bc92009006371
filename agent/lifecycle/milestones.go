package lifecycle

import (
	"time"

	"github.com/portlease/portlease/agent/clock"
	"github.com/portlease/portlease/shared/api"
)

// milestones measures how long the pod takes to be served, and tells the allocator with the
// next renewals. Only the goroutine of Run uses it.
type milestones struct {
	clock clock.Clock
	asked time.Time
	// passed are those so far, and told those of them that the allocator knows.
	passed, told api.Milestones
}

// leastMilestone tells a milestone that took no time from one that was not passed.
const leastMilestone = 0.001

// ask notes that the agent asks for a claim.
func (m *milestones) ask() {
	if m.asked.IsZero() {
		m.asked = m.clock.Now()
	}
}

// grant notes that the claim has ports. Those of a pod that had listeners before, because only
// its agent was restarted, are not measured.
func (m *milestones) grant(hadListeners bool) {
	if hadListeners && m.passed == (api.Milestones{}) {
		m.passed = api.Milestones{Granted: 1, Bound: 1, Announced: 1, Healthy: 1}
		m.told = m.passed
	}
	m.pass(&m.passed.Granted)
}

func (m *milestones) bind()     { m.pass(&m.passed.Bound) }
func (m *milestones) announce() { m.pass(&m.passed.Announced) }
func (m *milestones) heal()     { m.pass(&m.passed.Healthy) }

func (m *milestones) pass(milestone *float64) {
	if *milestone == 0 {
		*milestone = max(m.clock.Now().Sub(m.asked).Seconds(), leastMilestone)
	}
}

// news are the milestones that the allocator does not know yet.
func (m *milestones) news() api.Milestones {
	untold := func(passed, told float64) float64 {
		if told != 0 {
			return 0
		}
		return passed
	}
	return api.Milestones{
		Granted: untold(m.passed.Granted, m.told.Granted), Bound: untold(m.passed.Bound, m.told.Bound),
		Announced: untold(m.passed.Announced, m.told.Announced), Healthy: untold(m.passed.Healthy, m.told.Healthy),
	}
}

// tell notes that the allocator knows all milestones passed so far.
func (m *milestones) tell() { m.told = m.passed }
