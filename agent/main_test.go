package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestExitCodes(t *testing.T) {
	none := func(string) string { return "" }
	var out, diagnosis bytes.Buffer
	if code := run([]string{"--help"}, none, &out, &diagnosis); code != 0 || !strings.Contains(out.String(), "PORTLEASE_PORTS") || diagnosis.Len() != 0 {
		t.Errorf("help ended with %d, %q, %q", code, out.String(), diagnosis.String())
	}
	out.Reset()
	if code := run(nil, none, &out, &diagnosis); code != 2 || strings.Count(diagnosis.String(), "\n") != 1 || out.Len() != 0 {
		t.Errorf("no settings ended with %d, %q, %q", code, out.String(), diagnosis.String())
	}
}
