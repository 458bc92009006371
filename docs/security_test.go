package docs_test

import (
	"regexp"
	"strings"
	"testing"
)

var namedTest = regexp.MustCompile("`([^`:]*_test\\.go): (Test[A-Za-z0-9]+)`")

// TestSecurityPageNamesExistingTests: every row of the threat model names tests, and each
// of them is in the file that the page says.
func TestSecurityPageNamesExistingTests(t *testing.T) {
	page := read(t, "SECURITY.md")
	_, table, _ := strings.Cut(page, "\n| who, and what they hold |")
	table, _, _ = strings.Cut(table, "\n\n")
	rows := strings.Split(table, "\n")[2:]
	if len(rows) < 10 {
		t.Errorf("the threat model has only %d rows", len(rows))
	}
	for _, row := range rows {
		who := strings.Split(row, "|")[1]
		if cells := strings.Count(row, " | "); cells != 3 {
			t.Errorf("the row of%shas %d cells, want 4", who, cells+1)
		}
		if !namedTest.MatchString(row) {
			t.Errorf("the row of%snames no test", who)
		}
	}
	for _, m := range namedTest.FindAllStringSubmatch(page, -1) {
		if !strings.Contains(read(t, m[1]), "\nfunc "+m[2]+"(t *testing.T) {\n") {
			t.Errorf("%s has no %s", m[1], m[2])
		}
	}
	if named := strings.Count(page, "_test.go"); named != len(namedTest.FindAllString(page, -1)) {
		t.Errorf("the page names %d tests, and %d of them as path: Name in one line", named, len(namedTest.FindAllString(page, -1)))
	}
}
