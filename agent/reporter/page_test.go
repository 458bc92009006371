package reporter

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// docs/agent.md names every event that the agent records, and no other.
func TestDocumentedEventsAreTheRecordedEvents(t *testing.T) {
	text, err := os.ReadFile("../../docs/agent.md")
	if err != nil {
		t.Fatal(err)
	}
	_, events, found := strings.Cut(string(text), "\n## Events\n")
	if !found {
		t.Fatal("the page has no section on events")
	}
	var documented []string
	for _, m := range regexp.MustCompile("`([A-Z][A-Za-z]+)`").FindAllStringSubmatch(events, -1) {
		documented = append(documented, m[1])
	}
	code := []string{ReasonAnnounced, ReasonWaitingForBudget, ReasonClaimLost, ReasonGameStopped, ReasonGameBack, ReasonTargetNotInUse, ReasonLoadBalancerGone, reasonOther}
	for _, reason := range reasons {
		code = append(code, reason)
	}
	for _, reason := range code {
		if !slices.Contains(documented, reason) {
			t.Errorf("event %s is recorded but not documented", reason)
		}
	}
	for _, reason := range documented {
		if !slices.Contains(code, reason) {
			t.Errorf("event %s is documented but never recorded", reason)
		}
	}
}
