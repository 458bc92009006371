package lifecycle

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestEventsAreOnThePage: docs/agent.md names every event that the agent records, and
// no other.
func TestEventsAreOnThePage(t *testing.T) {
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
	code := []string{"Announced", "WaitingForAWS", "Trouble", "Lost"}
	for _, reason := range reasons {
		code = append(code, reason)
	}
	for _, reason := range code {
		if !slices.Contains(documented, reason) {
			t.Errorf("event %s is not on the page", reason)
		}
	}
	for _, reason := range documented {
		if !slices.Contains(code, reason) {
			t.Errorf("the page has event %s, which is never recorded", reason)
		}
	}
}
