// Package terraform checks deploy/terraform without Terraform. It is a separate
// module, because only it needs a parser of HCL. It has only tests.
package terraform

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
)

const folder = "../../../deploy/terraform"

// bodies gives the module's files.
func bodies(t *testing.T) map[string]*hclsyntax.Body {
	t.Helper()
	files, err := filepath.Glob(folder + "/*.tf")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	tests, err := filepath.Glob(folder + "/tests/*.hcl")
	if err != nil || len(tests) == 0 {
		t.Fatalf("%v, %v", tests, err)
	}
	parser := hclparse.NewParser()
	all := map[string]*hclsyntax.Body{}
	for _, name := range append(files, tests...) {
		file, problems := parser.ParseHCLFile(name)
		if problems.HasErrors() {
			t.Fatal(problems)
		}
		if formatted := hclwrite.Format(file.Bytes); !bytes.Equal(formatted, file.Bytes) {
			t.Errorf("%s is not formatted", name)
		}
		if strings.HasSuffix(name, ".tf") {
			all[name] = file.Body.(*hclsyntax.Body)
		}
	}
	return all
}

// TestEveryVariableIsUsed checks that every declared variable is used, and that every
// used variable and resource is declared.
func TestEveryVariableIsUsed(t *testing.T) {
	declared, used := map[string]bool{}, map[string]bool{}
	for _, body := range bodies(t) {
		for _, b := range body.Blocks {
			switch b.Type {
			case "variable":
				declared["var."+b.Labels[0]] = true
			case "resource":
				declared[b.Labels[0]+"."+b.Labels[1]] = true
			case "data":
				declared["data."+b.Labels[0]] = true
			case "locals":
				for name := range b.Body.Attributes {
					declared["local."+name] = true
				}
			}
		}
		problems := hclsyntax.VisitAll(body, func(n hclsyntax.Node) hcl.Diagnostics {
			if e, ok := n.(*hclsyntax.ScopeTraversalExpr); ok && len(e.Traversal) > 1 {
				if attribute, ok := e.Traversal[1].(hcl.TraverseAttr); ok {
					used[e.Traversal.RootName()+"."+attribute.Name] = true
				}
			}
			return nil
		})
		if problems.HasErrors() {
			t.Fatal(problems)
		}
	}
	for name := range declared {
		kind, _, _ := strings.Cut(name, ".")
		if (kind == "var" || kind == "local" || kind == "data") && !used[name] {
			t.Errorf("%s is declared and not used", name)
		}
	}
	for name := range used {
		kind, _, _ := strings.Cut(name, ".")
		if (kind == "var" || kind == "local" || kind == "data" || strings.HasPrefix(kind, "aws_")) && !declared[name] {
			t.Errorf("%s is used and not declared", name)
		}
	}
	if len(declared) < 30 {
		t.Errorf("declared are only %v", slices.Sorted(maps.Keys(declared)))
	}
}

// TestLoadBalancersReachOnlyWhatIsNamed checks what keeps a forged target unreachable:
// nobody opens ports without naming them, and the load balancers send to security
// groups, never to addresses.
func TestLoadBalancersReachOnlyWhatIsNamed(t *testing.T) {
	found := 0
	for name, body := range bodies(t) {
		for _, b := range body.Blocks {
			switch {
			case b.Type == "variable" && b.Labels[0] == "target_ports":
				found++
				if b.Body.Attributes["default"] != nil {
					t.Errorf("%s: target_ports has a default", name)
				}
			case b.Type == "resource" && b.Labels[0] == "aws_vpc_security_group_egress_rule":
				found++
				if b.Body.Attributes["referenced_security_group_id"] == nil || b.Body.Attributes["cidr_ipv4"] != nil || b.Body.Attributes["cidr_ipv6"] != nil {
					t.Errorf("%s: rule %s lets the load balancers reach addresses", name, b.Labels[1])
				}
			}
		}
	}
	if found != 2 {
		t.Errorf("found %d blocks, want the variable and one egress rule", found)
	}
}

// TestEveryPlaceholderIsFilled checks that the module fills in exactly the
// placeholders of the policies.
func TestEveryPlaceholderIsFilled(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(folder, "iam.tf"))
	if err != nil {
		t.Fatal(err)
	}
	placeholder := regexp.MustCompile(`<[a-z-]+>`)
	filled := placeholder.FindAllString(string(text), -1)
	policies, err := filepath.Glob("../../../deploy/iam/*.json")
	if err != nil || len(policies) == 0 {
		t.Fatalf("%v, %v", policies, err)
	}
	open := map[string]bool{}
	for _, name := range policies {
		policy, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range placeholder.FindAllString(string(policy), -1) {
			open[p] = true
			if !slices.Contains(filled, p) {
				t.Errorf("%s of %s is not filled in", p, name)
			}
		}
	}
	for _, p := range filled {
		if !open[p] {
			t.Errorf("%s is filled in, and no policy has it", p)
		}
	}
}
