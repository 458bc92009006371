package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/portlease/portlease/deploy/tests/policies"
	"github.com/portlease/portlease/e2e/elbemu/iam"
)

// TestIAMPageExplainsEveryStatement: docs/iam.md explains each statement of deploy/iam
// and no other, and it names every file and placeholder.
func TestIAMPageExplainsEveryStatement(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs/iam.md"))
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	explained := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Za-z]+)` \\|").FindAllStringSubmatch(page, -1) {
		explained[m[1]] = true
	}
	there := map[string]bool{}
	for _, file := range []string{policies.AgentPodIdentity, policies.AgentIRSA, policies.Janitor, policies.SourceVPC} {
		filled, err := policies.Read(file, policies.Values{Partition: "aws", Region: "r", Account: "000000000000", Ledger: "l", Namespace: "n", VPC: "vpc-0"})
		if err != nil {
			t.Fatal(err)
		}
		p, err := iam.Parse(filled)
		if err != nil {
			t.Fatal(err)
		}
		for _, use := range p.Uses() {
			there[use.Sid] = true
			if !explained[use.Sid] && !strings.Contains(page, "`"+use.Sid+"`") {
				t.Errorf("docs/iam.md does not explain statement %s of %s", use.Sid, file)
			}
		}
	}
	for sid := range explained {
		if !there[sid] {
			t.Errorf("docs/iam.md explains statement %s, which no policy has", sid)
		}
	}
	files, err := filepath.Glob(filepath.Join(root, "deploy/iam/*.json"))
	if err != nil || len(files) != 6 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, name := range files {
		policy, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(page, "`"+filepath.Base(name)+"`") {
			t.Errorf("docs/iam.md does not name %s", name)
		}
		open := regexp.MustCompile(`<[a-z-]+>`).FindAllString(string(policy), -1)
		for _, one := range slices.Compact(slices.Sorted(slices.Values(open))) {
			if !strings.Contains(page, "`"+one+"`") {
				t.Errorf("docs/iam.md does not name the placeholder %s", one)
			}
		}
	}
}
