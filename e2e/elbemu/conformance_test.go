package elbemu_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/smithy-go"

	"github.com/portlease/portlease/e2e/elbemu"
)

// grade says how well a fact is known.
type grade string

const (
	documented grade = "D" // AWS documentation or the published API model
	observed   grade = "O" // seen on AWS by someone in public
	inSource   grade = "S" // read in the source of a public project
	ran        grade = "R" // run with the Go SDK
	inferred   grade = "I" // follows from others
	unverified grade = "U" // a guess; a switch of the emulator if it matters
)

// row is one fact that API calls can show.
type row struct {
	fact  string
	grade grade
	// only is the reason why the row cannot run on AWS. It is empty if the row runs on
	// both.
	only string
	cfg  elbemu.Config         // of the emulator; only for emulator-only rows
	call func(s *stage) string // makes the calls and returns their answers
	want string                // the expected answers
}

// TestConformance runs every row against the emulator. With PORTLEASE_CONFORMANCE=aws, it
// runs the rows for both against a real account.
func TestConformance(t *testing.T) {
	if os.Getenv("PORTLEASE_CONFORMANCE") == "aws" {
		account := newAccount(t)
		for _, r := range rows() {
			if r.only == "" {
				t.Run(r.fact, func(t *testing.T) { account.play(t, r) })
			}
		}
		return
	}
	for _, r := range rows() {
		t.Run(r.fact, func(t *testing.T) { emulated(t, r.cfg).play(t, r) })
	}
}

func (s *stage) play(t *testing.T, r row) {
	here := *s
	here.t = t
	if got := r.call(&here); got != r.want {
		t.Errorf("grade %s: answered %q, want %q", r.grade, got, r.want)
	}
	s.made = here.made
}

// answer returns ok or the error code, with the HTTP status unless it is 400, which all
// client errors have.
func answer(err error) string {
	var api smithy.APIError
	switch {
	case err == nil:
		return "ok"
	case !errors.As(err, &api):
		return "no answer: " + err.Error()
	case statusOf(err) != 400:
		return fmt.Sprintf("%s HTTP %d", api.ErrorCode(), statusOf(err))
	}
	return api.ErrorCode()
}

// answerSaying returns answer, with a note if the message lacks the text.
func answerSaying(err error, text string) string {
	var api smithy.APIError
	if errors.As(err, &api) && !strings.Contains(api.ErrorMessage(), text) {
		return answer(err) + " with the message: " + api.ErrorMessage()
	}
	return answer(err)
}

// answers returns the distinct answers of several calls, in order.
func answers(errs ...error) string {
	var all []string
	for _, err := range errs {
		if a := answer(err); !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	return strings.Join(all, ", ")
}

// hidden is a fact that no API call can show.
type hidden struct {
	fact   string
	grade  grade
	reason string // why not, and what shows it instead, if anything does
}

func TestHiddenFactsHaveAReason(t *testing.T) {
	shown := rows()
	for _, h := range hiddenFacts {
		t.Logf("no call shows: %s (%s): %s", h.fact, h.grade, h.reason)
		if h.reason == "" {
			t.Errorf("%q has no reason", h.fact)
		}
		if slices.ContainsFunc(shown, func(r row) bool { return r.fact == h.fact }) {
			t.Errorf("%q is shown by a row", h.fact)
		}
	}
}

func TestRowsAreCompleteAndDistinct(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range rows() {
		if seen[r.fact] || r.want == "" || r.fact == "" || r.grade == "" {
			t.Errorf("row %q is not distinct or not complete", r.fact)
		}
		seen[r.fact] = true
	}
}

// A row that passes against a service that refuses every call proves nothing.
func TestRowsFailAgainstAServiceThatRefusesEveryCall(t *testing.T) {
	const refusal = `<ErrorResponse><Error><Type>Sender</Type><Code>Broken</Code><Message>no</Message></Error><RequestId>r</RequestId></ErrorResponse>`
	broken := roundTripper(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusBadRequest, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(refusal)), Request: r}, nil
	})
	for _, r := range rows() {
		s := emulated(t, r.cfg)
		s.Client = elb.New(s.Options(), func(o *elb.Options) { o.HTTPClient = &http.Client{Transport: broken} })
		s.t = &lenient{TB: t}
		ended := make(chan string, 1)
		go func() {
			got := "failed"
			defer func() { ended <- got }()
			got = r.call(s)
		}()
		if got := <-ended; got == r.want {
			t.Errorf("row %q passes against a broken service: %q", r.fact, got)
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// lenient lets a row fail without failing the test.
type lenient struct{ testing.TB }

func (*lenient) Error(...any) {}
func (*lenient) Fatal(...any) { runtime.Goexit() }

// With PORTLEASE_WRITE_README=1 the test writes the tables instead of comparing them.
func TestReadmeListsTheFacts(t *testing.T) {
	const file, begin, end = "README.md", "<!-- facts begin -->\n", "<!-- facts end -->"
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(content), begin)
	old, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no place for the facts", file)
	}
	tables := factTables()
	if old == tables {
		return
	}
	if os.Getenv("PORTLEASE_WRITE_README") == "" {
		t.Fatalf("%s differs from the rows; run the test with PORTLEASE_WRITE_README=1", file)
	}
	if err := os.WriteFile(file, []byte(before+begin+tables+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

func factTables() string {
	var out strings.Builder
	out.WriteString("\n### Shown by calls\n\n| fact | grade | answer | runs against |\n|---|---|---|---|\n")
	cell := strings.NewReplacer("|", "\\|", "\n", " ")
	for _, r := range rows() {
		where := "both"
		if r.only != "" {
			where = "emulator only: " + r.only
		}
		fmt.Fprintf(&out, "| %s | %s | `%s` | %s |\n", cell.Replace(r.fact), r.grade, cell.Replace(r.want), where)
	}
	out.WriteString("\n### Shown by no call\n\n| fact | grade | why not, and what shows it instead |\n|---|---|---|\n")
	for _, h := range hiddenFacts {
		fmt.Fprintf(&out, "| %s | %s | %s |\n", cell.Replace(h.fact), h.grade, cell.Replace(h.reason))
	}
	out.WriteString("\n")
	return out.String()
}
