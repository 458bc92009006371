package announce_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/portlease/portlease/agent/announce"
	"github.com/portlease/portlease/shared/api"
)

// whole is a claim with every field that a document has, and more.
var whole = api.Claim{
	UID: "claim-uid", Ledger: "ledger", Namespace: "games", Pod: "game-0", PodUID: "pod-uid", PodIP: "10.1.2.3", Pool: "default",
	LoadBalancer: api.LoadBalancer{ARN: "arn:lb", Host: "games.elb.example", VPC: "vpc-1", Addresses: []string{"198.51.100.1", "198.51.100.2"}},
	Ports: []api.ClaimedPort{
		{Port: api.Port{Name: "game", TargetPort: 7777, Protocol: api.UDP}, ListenerPort: 30007, TargetGroupARN: "arn:tg-1", ListenerARN: "arn:l-1"},
		{Port: api.Port{Name: "chat", TargetPort: 8080, Protocol: api.TCP}, ListenerPort: 30008, TargetGroupARN: "arn:tg-2", ListenerARN: "arn:l-2"},
	},
	DurationSeconds: 120, RenewSeconds: 30,
}

// published is what other programs read. A change other than an added field needs a new
// Version.
const published = `{"version":1,"namespace":"games","pod":"game-0","podUID":"pod-uid","pool":"default",` +
	`"endpoint":"games.elb.example:30007","host":"games.elb.example","addresses":["198.51.100.1","198.51.100.2"],"loadBalancerARN":"arn:lb","ports":[` +
	`{"name":"game","protocol":"UDP","targetPort":7777,"listenerPort":30007,"endpoint":"games.elb.example:30007","targetGroupARN":"arn:tg-1","listenerARN":"arn:l-1"},` +
	`{"name":"chat","protocol":"TCP","targetPort":8080,"listenerPort":30008,"endpoint":"games.elb.example:30008","targetGroupARN":"arn:tg-2","listenerARN":"arn:l-2"}]}`

func TestDocumentHasThePublishedFields(t *testing.T) {
	d, err := announce.Describe(whole)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := json.Marshal(d); err != nil || string(text) != published {
		t.Errorf("got  %s, %v\nwant %s", text, err, published)
	}
	without := whole
	without.LoadBalancer.Addresses = nil
	d, err = announce.Describe(without)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if text, err := json.Marshal(d); err != nil || json.Unmarshal(text, &fields) != nil || fields["addresses"] != nil || len(fields) != 9 {
		t.Errorf("without fixed addresses: %s, %v", text, err)
	}
	if _, err := announce.Describe(api.Claim{}); err == nil {
		t.Error("described a claim without ports")
	}
}

func TestFileAndBoardHaveTheSameDocument(t *testing.T) {
	dir := t.TempDir()
	var board announce.Board
	if err := (announce.Files{Dir: dir}).Announce(t.Context(), whole); err != nil {
		t.Fatal(err)
	}
	if err := board.Announce(t.Context(), whole); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, announce.FileClaim))
	if err != nil {
		t.Fatal(err)
	}
	status, header, body := get(t, &board)
	if status != http.StatusOK || header.Get("Content-Type") != "application/json" || header.Get("Cache-Control") != "no-store" {
		t.Errorf("the board answers %d with %v", status, header)
	}
	for what, text := range map[string]string{"file": string(text), "board": body} {
		var d announce.Document
		if err := json.Unmarshal([]byte(text), &d); err != nil {
			t.Fatal(err)
		}
		if again, err := json.Marshal(d); err != nil || string(again) != published {
			t.Errorf("%s has %s, %v", what, again, err)
		}
	}
}

// get gets a board's answer over HTTP.
func get(t *testing.T, board *announce.Board) (int, http.Header, string) {
	t.Helper()
	server := httptest.NewServer(board)
	defer server.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+announce.PathEndpoint, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(body)
}

func TestBoardWithoutDocumentAnswersWhy(t *testing.T) {
	var board announce.Board
	const (
		notYet    = "the pod has no endpoint yet because its ports are not bound; ask again"
		withdrawn = "the endpoint was withdrawn because the pod is stopping or gets other ports; send no new players"
	)
	shows := func(step, want string) {
		t.Helper()
		status, header, body := get(t, &board)
		if want == "" {
			if status != http.StatusOK {
				t.Errorf("%s: %d %s", step, status, body)
			}
			return
		}
		var p api.Problem
		if err := json.Unmarshal([]byte(body), &p); err != nil {
			t.Fatalf("%s: %s, %v", step, body, err)
		}
		if status != http.StatusServiceUnavailable || p.Status != status || p.Code != api.Pending || p.Title != "Service Unavailable" || p.Detail != want ||
			header.Get("Content-Type") != api.ProblemType || header.Get("Retry-After") != "1" || header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %+v with %v", step, status, p, header)
		}
	}
	withdraw := func() {
		if err := board.Withdraw(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	shows("new", notYet)
	withdraw()
	shows("withdrawn before it was announced", notYet)
	if err := board.Announce(t.Context(), api.Claim{}); err == nil {
		t.Error("announced a claim without ports")
	}
	shows("not announced", notYet)
	for range 2 {
		if err := board.Announce(t.Context(), whole); err != nil {
			t.Fatal(err)
		}
		shows("announced", "")
		withdraw()
		withdraw()
		shows("withdrawn", withdrawn)
	}
}
