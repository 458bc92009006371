package rules_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// replaced are words that the glossary in docs/ARCHITECTURE.md has a better one for.
// A phrase stands for its words in a row.
var replaced = map[string]string{
	"let go":     "begin release, granted",
	"peek":       "cached",
	"grave":      "tombstone",
	"prolong":    "renew",
	"vacate":     "deregister the previous IP",
	"stranger":   "foreign, unauthenticated",
	"desk":       "admin",
	"people":     "admin",
	"nudge":      "wake",
	"elder":      "older waiting claim",
	"settle":     "confirm",
	"unsettled":  "pending",
	"spare":      "opportunistic",
	"telling":    "reporting",
	"heed":       "apply",
	"trouble":    "failure",
	"weather":    "transient error, fault",
	"chaos":      "fault",
	"luck":       "random",
	"mend":       "repair",
	"former":     "previous",
	"persons":    "admins",
	"conflicted": "collided",
}

// allowed are names and messages that keep such a word, and why.
var allowed = map[string]string{}

// replacedIn returns the replaced word or phrase in the words of a name or text.
func replacedIn(parts []string) string {
	text := " " + strings.Join(parts, " ") + " "
	for word := range replaced {
		for _, form := range []string{word, word + "s", word + "d", word + "ed", word + "ing", strings.TrimSuffix(word, "e") + "ing"} {
			if strings.Contains(text, " "+form+" ") {
				return word
			}
		}
	}
	return ""
}

var letters = regexp.MustCompile(`[A-Za-z]+`)

// wordsOf are the words of a message, a metric name or an event reason.
func wordsOf(text string) (parts []string) {
	for _, one := range letters.FindAllString(text, -1) {
		parts = append(parts, words(one)...)
	}
	return parts
}

// messages calls found with what a file shows to admins: log messages, metric names
// and event reasons.
func messages(file *ast.File, found func(token.Pos, string)) {
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			f, ok := n.Fun.(*ast.SelectorExpr)
			if !ok || !slices.Contains([]string{"Debug", "Info", "Warn", "Error"}, strings.TrimSuffix(f.Sel.Name, "Context")) {
				return true
			}
			for _, arg := range n.Args[:min(len(n.Args), 2)] { // a context may come first
				if text := literal(arg); text != "" {
					found(arg.Pos(), text)
					break
				}
			}
		case *ast.BasicLit:
			if text, err := strconv.Unquote(n.Value); err == nil && n.Kind == token.STRING && (strings.HasPrefix(text, "portlease_") || reason.MatchString(text)) {
				found(n.Pos(), text)
			}
		}
		return true
	})
}

// reason is the form of event reasons: two words or more in CamelCase.
var reason = regexp.MustCompile(`^([A-Z][a-z]+){2,}$`)

func TestNamesAndMessagesKeepToTheGlossary(t *testing.T) {
	used := make(map[string]bool)
	count := 0
	for _, folder := range []string{"allocator", "agent", "shared", "e2e"} {
		err := filepath.WalkDir(filepath.Join(root, folder), func(path string, d fs.DirEntry, err error) error {
			if d != nil && d.IsDir() && d.Name() == "elbemu" {
				return filepath.SkipDir // a module of its own, with AWS's words
			}
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			positions := token.NewFileSet()
			file, err := parser.ParseFile(positions, path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			check := func(at token.Pos, text string, parts []string) {
				count++
				word := replacedIn(parts)
				used[text] = used[text] || word != ""
				if word != "" && allowed[text] == "" {
					t.Errorf("%s: %q says %q; the glossary has: %s", positions.Position(at), text, word, replaced[word])
				}
			}
			declarations(file, func(id *ast.Ident) { check(id.Pos(), id.Name, words(id.Name)) })
			messages(file, func(at token.Pos, text string) { check(at, text, wordsOf(text)) })
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for text := range allowed {
		if !used[text] {
			t.Errorf("nothing needs the exception for %q any more", text)
		}
	}
	if count < 5000 {
		t.Errorf("only %d names and messages were checked", count)
	}
}

// TestReplacedWordsAreFound has replaced words in each place and form.
func TestReplacedWordsAreFound(t *testing.T) {
	for name, want := range map[string]string{
		"isSettled": "settle", "LetGo": "let go", "prolongs": "prolong", "vacating": "vacate", "HeedGame": "heed", "peopleList": "people",
		"outlet": "", "gone": "", "bookmend": "", "recommended": "", "information": "", "letterGoes": "",
	} {
		if got := replacedIn(words(name)); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	const source = `package a
const Reason = "PortVacated"
func f() {
	log.InfoContext(ctx, "claim settled", "claim", "weather")
	log.Warn("bad weather")
	count("portlease_strangers_total")
	other("some trouble")
}`
	file, err := parser.ParseFile(token.NewFileSet(), "", source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	messages(file, func(_ token.Pos, text string) {
		if replacedIn(wordsOf(text)) != "" {
			found = append(found, text)
		}
	})
	if want := []string{"PortVacated", "claim settled", "bad weather", "portlease_strangers_total"}; !slices.Equal(found, want) {
		t.Errorf("found %q, want %q", found, want)
	}
}
