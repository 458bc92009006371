package kubeapi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestCloseLeavesNeitherProcessNorFile(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	// The thread that calls Start ends; the children must survive it.
	started := make(chan error)
	var api *API
	go func() {
		runtime.LockOSThread()
		var err error
		api, err = Start(t.Context(), Config{})
		started <- err
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	pids := []int{api.etcd.process.Pid, api.server.process.Pid}
	for range 3 {
		if _, err := api.client.Discovery().ServerVersion(); err != nil {
			t.Fatal(err)
		}
	}
	if err := api.Close(); err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("process %d: %v, want it gone", pid, err)
		}
	}
	expectEmpty(t, temporary)
}

func TestStartFailureQuotesTheLog(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	assets, temporary := t.TempDir(), t.TempDir()
	for _, program := range required {
		if err := os.Symlink(self, filepath.Join(assets, program)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv(assetsVariable, assets)
	t.Setenv("TMPDIR", temporary)
	api, err := Start(t.Context(), Config{})
	if err == nil || !strings.Contains(err.Error(), etcdComplaint) {
		t.Errorf("Start: %v, want an error that quotes %q", err, etcdComplaint)
	}
	if api != nil {
		t.Error("Start returned an API with its error")
	}
	expectEmpty(t, temporary)
}

const etcdComplaint = "no room in the cellar"

// failingEtcd is what the test binary runs when it is called as etcd.
func failingEtcd() int {
	fmt.Fprintln(os.Stderr, etcdComplaint)
	return 1
}

func TestStartStopsWhenItsContextEnds(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, err := Start(ctx, Config{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Start: %v, want %v", err, context.DeadlineExceeded)
	}
	expectEmpty(t, temporary)
}

func TestPausedServerAnswersNothing(t *testing.T) {
	for range 5 { // a thread that has not stopped would answer some of these requests
		for range 2 { // the second time, the server is already paused
			if err := shared.Pause(); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		_, err := shared.client.CoreV1().Nodes().Get(ctx, Node, metav1.GetOptions{})
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("while paused: %v, want %v", err, context.DeadlineExceeded)
		}
		if err := shared.Resume(); err != nil {
			t.Fatal(err)
		}
		if _, err := shared.client.CoreV1().Nodes().Get(t.Context(), Node, metav1.GetOptions{}); err != nil {
			t.Errorf("after Resume: %v", err)
		}
	}
}

func TestDownServerKeepsItsAddressAndObjects(t *testing.T) {
	namespace := newNamespace(t)
	if err := shared.Down(); err != nil {
		t.Fatal(err)
	}
	_, err := shared.client.CoreV1().Namespaces().Get(t.Context(), namespace, metav1.GetOptions{})
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("while down: %v, want %v", err, syscall.ECONNREFUSED)
	}
	if err := shared.Pause(); err == nil {
		t.Error("Pause paused a server that is down")
	}
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(shared.port.port)))
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("somebody else listens on the port: %v, want %v", err, syscall.EADDRINUSE)
	}
	if listener != nil {
		if err := listener.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := shared.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := shared.client.CoreV1().Namespaces().Get(t.Context(), namespace, metav1.GetOptions{}); err != nil {
		t.Errorf("after Up: %v", err)
	}
}

func TestRestartEndsAPause(t *testing.T) {
	before := shared.server.process.Pid
	if err := shared.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := shared.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if shared.server.process.Pid == before {
		t.Error("the same process is there after Restart")
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: newNamespace(t), Name: "game"}}
	if _, err := shared.CreatePod(t.Context(), pod); err != nil {
		t.Errorf("after Restart: %v", err)
	}
}

func expectEmpty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		t.Errorf("%s is left behind", entry.Name())
	}
}
