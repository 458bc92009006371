package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/admin"
	"github.com/portlease/portlease/allocator/claim"
	"github.com/portlease/portlease/allocator/httpapi"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
)

var errInternals = errors.New(`Get "https://10.96.0.1:443/apis/coordination.k8s.io": etcdserver: leader changed`)

// failingClaims is a table of an API server that fails every read.
type failingClaims struct{ ledger.Claims }

func (failingClaims) Get(context.Context, string) (ledger.Record[ledger.Claim], error) {
	return ledger.Record[ledger.Claim]{}, errInternals
}

func (failingClaims) Cached(string) (ledger.Record[ledger.Claim], bool) {
	return ledger.Record[ledger.Claim]{}, false
}

// TestCauseOfAnUnavailableIsLoggedAndNeverSent runs the real services on a failing
// API server: the caller reads a sentence, the log has the cause.
func TestCauseOfAnUnavailableIsLoggedAndNeverSent(t *testing.T) {
	w := newWorld()
	config := w.config
	getPod := func(context.Context, string, string) (*ledger.Pod, error) { return nil, errInternals }
	config.Claims = claim.New(claim.Config{Claims: failingClaims{}, GetPod: getPod, Now: time.Now, Log: config.Log})
	config.Views = admin.New(admin.Config{Claims: failingClaims{}, GetPod: getPod, Now: time.Now, Log: config.Log})
	w.Handler = httpapi.New(config)
	for _, call := range []struct {
		method, path, token string
		body                any
	}{
		{"POST", path + api.CallRelease, "game-0", api.ReleaseRequest{ClaimUID: "c"}},
		{"POST", path + api.CallRenew, "game-0", api.RenewRequest{ClaimUID: "c", PodIP: "10.0.0.1"}},
		{"GET", path, "admin", nil},
	} {
		w.log.Reset()
		out := w.ask(t, call.method, call.path, call.token, body(t, call.body))
		problem(t, call.path, out, api.Unavailable)
		if strings.Contains(out.Body.String(), "etcd") || strings.Contains(out.Body.String(), "10.96") {
			t.Errorf("%s %s tells internals: %s", call.method, call.path, out.Body)
		}
		if last := w.observed[len(w.observed)-1]; !strings.HasSuffix(last, " Service Unavailable unavailable") {
			t.Errorf("%s %s: observed %q", call.method, call.path, last)
		}
		var line struct{ Level, Msg, Code, Err, RequestID string }
		if err := json.Unmarshal(w.log.Bytes(), &line); err != nil {
			t.Fatalf("%s %s: want exactly one line in the log: %v: %s", call.method, call.path, err, w.log.String())
		}
		if line.Level != "WARN" || line.Code != "unavailable" || !strings.Contains(line.Err, "etcdserver: leader changed") ||
			line.RequestID != out.Header().Get(api.HeaderRequestID) {
			t.Errorf("%s %s: logged %+v", call.method, call.path, line)
		}
	}
}
