package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/portlease/portlease/allocator/httpapi"
	"github.com/portlease/portlease/shared/api"
)

// slowReader is a peer that does not read what it is sent, until it is told to.
type slowReader struct {
	*httptest.ResponseRecorder
	read <-chan struct{}
}

func (r slowReader) Write(b []byte) (int, error) {
	<-r.read
	return r.ResponseRecorder.Write(b)
}

// TestSlowReadersHoldNoSlot: callers that do not read their answers hold up nobody.
func TestSlowReadersHoldNoSlot(t *testing.T) {
	for _, test := range []struct {
		method, path, name string
		callers            int
	}{
		{http.MethodGet, "/openapi.json", "", 200}, {http.MethodGet, "/", "", 200}, {http.MethodGet, api.PathPorts, "admin", 200}, {http.MethodGet, "/metrics", "", 200},
		{http.MethodGet, "/readyz", "", 200}, {http.MethodPost, path + api.CallRelease, "", 2000},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			read := make(chan struct{})
			var wait sync.WaitGroup
			for n := range test.callers {
				if n%100 == 0 {
					synctest.Wait() // those before have got their answers, and do not read them
				}
				name := test.name
				at := test.path
				if test.method == http.MethodPost {
					name = podNumber(n)
					at = api.ClaimPath("games", name) + api.CallRelease
				}
				r := httptest.NewRequestWithContext(t.Context(), test.method, at, bodyOf(t, test.method))
				r.RemoteAddr = addressOf(podNumber(n))
				if name != "" {
					r.Header.Set("Authorization", "Bearer "+tokenOf(name))
				}
				out := slowReader{httptest.NewRecorder(), read}
				wait.Go(func() {
					w.ServeHTTP(out, r)
					if out.Code != http.StatusOK || out.Body.Len() == 0 {
						t.Errorf("%s %s: a slow reader was answered %d %s", test.method, test.path, out.Code, out.Body)
					}
				})
			}
			synctest.Wait()
			if out := w.ask(t, test.method, test.path, orGame(test.name, test.method), bodyOf(t, test.method)); out.Code != http.StatusOK {
				t.Errorf("%s %s beside slow readers: %d %s", test.method, test.path, out.Code, out.Body)
			}
			close(read)
			wait.Wait()
		})
	}
}

// TestErrorAfterAHalfAnswerIsAnswered: nothing of the half was sent.
func TestErrorAfterAHalfAnswerIsAnswered(t *testing.T) {
	w := newWorld()
	w.config.Probes["/readyz"] = http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		out.WriteHeader(http.StatusOK)
		if _, err := out.Write([]byte("half")); err != nil {
			t.Error(err)
		}
		panic("on the way")
	})
	w.Handler = httpapi.New(w.config)
	problem(t, "a panic after half an answer", w.ask(t, http.MethodGet, "/readyz", "", http.NoBody), api.Internal)
}

// orGame gives the name of the pod whose calls are made by POST.
func orGame(name, method string) string {
	if method == http.MethodPost {
		return "game-0"
	}
	return name
}
