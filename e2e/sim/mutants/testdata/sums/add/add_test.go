package add

import (
	"os"
	"strings"
	"testing"
	"time"
)

func TestAdd(t *testing.T) {
	t.Log("one and two")
	if got := Add(1, 2); got != 3 {
		t.Errorf("1 + 2 = %d", got)
	}
}

func TestThree(t *testing.T) {
	text, err := os.ReadFile("three.txt")
	if err != nil || strings.TrimSpace(string(text)) != "3" {
		t.Errorf("three is %q, %v", text, err)
	}
}

// TestSeeds goes on for long after it has found something.
func TestSeeds(t *testing.T) {
	for n := range 3 {
		if got := Add(n, 1); got != n+1 {
			t.Errorf("seed %d: S2: %d", n, got)
			time.Sleep(longest)
		}
	}
}

func TestAlwaysBroken(t *testing.T) { t.Error("always broken") }
