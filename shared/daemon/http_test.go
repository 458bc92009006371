package daemon_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/portlease/portlease/shared/daemon"
)

func TestServerFinishesWhatIsUnderWay(t *testing.T) {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	entered, finish := make(chan struct{}), make(chan struct{})
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-finish
		_, _ = io.WriteString(w, "done")
	})
	ctx, stop := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- daemon.Server{Handler: handler}.Run(ctx, listener) }()
	answered := make(chan string, 1)
	go func() {
		resp, err := http.Get("http://" + listener.Addr().String())
		if err != nil {
			answered <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		answered <- string(body) + errText(err)
	}()
	<-entered
	stop()
	close(finish)
	if got := <-answered; got != "done" {
		t.Errorf("answer was %q", got)
	}
	if err := <-stopped; err != nil {
		t.Errorf("stopping gave %v", err)
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestFailedHandshakesDoNotFillTheLog: anybody can cause as many as they like.
func TestFailedHandshakesDoNotFillTheLog(t *testing.T) {
	for level, logged := range map[string]bool{"info": false, "debug": true} {
		listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		log, err := daemon.NewLogger(&out, level)
		if err != nil {
			t.Fatal(err)
		}
		none := func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("no certificate") }
		ctx, stop := context.WithCancel(t.Context())
		stopped := make(chan error, 1)
		server := daemon.Server{Handler: daemon.Probe(nil), TLS: &tls.Config{GetCertificate: none, MinVersion: tls.VersionTLS12}, Log: log}
		go func() { stopped <- server.Run(ctx, listener) }()
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "nonsense\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(conn); err != nil { // until the server has closed it
			t.Log(err)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		stop()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
		if got := out.String(); strings.Contains(got, "handshake") != logged || strings.Contains(got, "WARN") {
			t.Errorf("at level %s the log is %s", level, got)
		}
	}
}

func TestServerSaysWhenGraceWasTooShort(t *testing.T) {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	entered, finish := make(chan struct{}), make(chan struct{})
	handler := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(entered); <-finish })
	ctx, stop := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- daemon.Server{Handler: handler, Grace: time.Millisecond}.Run(ctx, listener) }()
	go func() {
		resp, err := http.Get("http://" + listener.Addr().String())
		if err == nil {
			resp.Body.Close()
		}
	}()
	<-entered
	stop()
	if err := <-stopped; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want a deadline", err)
	}
	close(finish)
}

// TestALongHeaderIsSentAway: memory for headers is spent before anybody is
// known.
func TestALongHeaderIsSentAway(t *testing.T) {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- daemon.Server{Handler: daemon.Probe(nil)}.Run(ctx, listener) }()
	for size, want := range map[int]int{8 << 10: http.StatusOK, 32 << 10: http.StatusRequestHeaderFieldsTooLarge} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+listener.Addr().String(), http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+strings.Repeat("x", size))
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("a token of %d bytes was answered %d, want %d", size, resp.StatusCode, want)
		}
	}
	stop()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestProbeAnswersTheReason(t *testing.T) {
	var reason error
	probe := daemon.Probe(func(context.Context) error { return reason })
	ask := func() (int, string) {
		w := httptest.NewRecorder()
		probe.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
		return w.Code, w.Body.String()
	}
	if code, body := ask(); code != 200 || body != "ok\n" {
		t.Errorf("got %d %q", code, body)
	}
	reason = errors.New("no API server")
	if code, body := ask(); code != 503 || body != "no API server\n" {
		t.Errorf("got %d %q", code, body)
	}
}

func TestMetricsAreOfOneSet(t *testing.T) {
	one, other := metrics.NewSet(), metrics.NewSet()
	one.NewCounter("portlease_one_total").Inc()
	other.NewCounter("portlease_other_total").Inc()
	w := httptest.NewRecorder()
	daemon.Metrics(one).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if body := w.Body.String(); !strings.Contains(body, "portlease_one_total 1\n") || strings.Contains(body, "portlease_other_total") {
		t.Errorf("got\n%s", body)
	}
}

func TestSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		if err := daemon.Sleep(t.Context(), time.Minute); err != nil || time.Since(start) != time.Minute {
			t.Errorf("slept %v, %v", time.Since(start), err)
		}
		why := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(why)
		if err := daemon.Sleep(ctx, time.Hour); !errors.Is(err, why) {
			t.Errorf("got %v, want the cause", err)
		}
	})
}

func TestLoggerRefusesUnknownLevel(t *testing.T) {
	var out strings.Builder
	log, err := daemon.NewLogger(&out, "warn")
	if err != nil {
		t.Fatal(err)
	}
	log.InfoContext(t.Context(), "too quiet")
	log.WarnContext(t.Context(), "loud enough", "port", 7)
	if got := out.String(); strings.Contains(got, "too quiet") || !strings.Contains(got, `"port":7`) {
		t.Errorf("got %s", got)
	}
	if _, err := daemon.NewLogger(&out, "shout"); err == nil {
		t.Error("took an unknown level")
	}
}

// slog writes a duration as nanoseconds, which nobody can read.
func TestDurationsAreLoggedInSeconds(t *testing.T) {
	var out bytes.Buffer
	log, err := daemon.NewLogger(&out, "info")
	if err != nil {
		t.Fatal(err)
	}
	log.With("age", time.Minute).Info("it took a while", "took", 1500*time.Millisecond, slog.Group("more", "wait", 2*time.Second))
	for _, want := range []string{`"ageSeconds":60`, `"tookSeconds":1.5`, `"waitSeconds":2`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s has no %s", out.String(), want)
		}
	}
}
