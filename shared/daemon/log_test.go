package daemon_test

import (
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/portlease/portlease/shared/daemon"
)

func TestEveryLineHasTheAttributesOfItsContext(t *testing.T) {
	var out strings.Builder
	log, err := daemon.NewLogger(&out, "info")
	if err != nil {
		t.Fatal(err)
	}
	ctx := daemon.LogWith(t.Context(), slog.String("requestID", "r-1"))
	log.InfoContext(t.Context(), "before")
	log.InfoContext(ctx, "one")
	log.With("part", "janitor").InfoContext(daemon.LogWith(ctx, slog.Int("try", 2)), "two", "port", 7)
	log.WithGroup("g").InfoContext(ctx, "three")
	log.InfoContext(ctx, "four")
	var lines []map[string]any
	for line := range strings.Lines(out.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, m)
	}
	if len(lines) != 5 || lines[0]["requestID"] != nil || lines[1]["requestID"] != "r-1" || lines[1]["try"] != nil || lines[4]["try"] != nil {
		t.Errorf("got %v", lines)
	}
	if l := lines[2]; l["requestID"] != "r-1" || l["try"] != 2.0 || l["port"] != 7.0 || l["part"] != "janitor" {
		t.Errorf("got %v", l)
	}
	if group, _ := lines[3]["g"].(map[string]any); group["requestID"] != "r-1" {
		t.Errorf("got %v", lines[3])
	}
}
