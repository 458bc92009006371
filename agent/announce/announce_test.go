package announce_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/portlease/portlease/agent/announce"
	"github.com/portlease/portlease/shared/api"
)

func claim(ports ...api.ClaimedPort) api.Claim {
	return api.Claim{UID: "u", LoadBalancer: api.LoadBalancer{Host: "games.elb.example"}, Ports: ports}
}

func port(name string, listener int) api.ClaimedPort {
	return api.ClaimedPort{Port: api.Port{Name: name, TargetPort: 7777, Protocol: api.UDP}, ListenerPort: listener}
}

func read(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		found[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestFilesHaveTheEndpoint(t *testing.T) {
	dir := t.TempDir()
	c := claim(port("game", 30007), port("voice-chat", 30008))
	if err := (announce.Files{Dir: dir}).Announce(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	found := read(t, dir)
	var whole announce.Document
	if err := json.Unmarshal([]byte(found["claim.json"]), &whole); err != nil || whole.Endpoint != "games.elb.example:30007" || len(whole.Ports) != 2 {
		t.Errorf("claim.json holds %+v, %v", whole, err)
	}
	delete(found, "claim.json")
	want := map[string]string{
		"host": "games.elb.example\n", "port": "30007\n", "endpoint": "games.elb.example:30007\n",
		"ports/game": "30007\n", "ports/voice-chat": "30008\n",
		"env": "PORTLEASE_HOST='games.elb.example'\nPORTLEASE_PORT='30007'\nPORTLEASE_ENDPOINT='games.elb.example:30007'\n" +
			"PORTLEASE_PORT_GAME='30007'\nPORTLEASE_PORT_VOICE_CHAT='30008'\n",
	}
	for name, text := range want {
		if found[name] != text {
			t.Errorf("%s holds %q, want %q", name, found[name], text)
		}
		delete(found, name)
	}
	if len(found) != 0 {
		t.Errorf("there is more: %v", found)
	}
	out, err := exec.CommandContext(t.Context(), "sh", "-c", `. "$0" && printf %s "$PORTLEASE_ENDPOINT $PORTLEASE_PORT_VOICE_CHAT"`, filepath.Join(dir, "env")).CombinedOutput()
	if err != nil || string(out) != "games.elb.example:30007 30008" {
		t.Errorf("a shell reads %q, %v", out, err)
	}
}

// A game that runs as another user reads the files in a shared emptyDir.
func TestFilesAreReadableForAllUsersWhateverTheUmask(t *testing.T) {
	before := syscall.Umask(0o077)
	defer syscall.Umask(before)
	dir := t.TempDir()
	c := claim(port("game", 30007))
	for range 2 { // again over existing files
		if err := (announce.Files{Dir: dir}).Announce(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		// An earlier writer may have left other modes.
		if err := os.Chmod(filepath.Join(dir, "ports"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := (announce.Files{Dir: dir}).Announce(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	want := map[string]fs.FileMode{"ports": 0o755 | fs.ModeDir}
	for name := range read(t, dir) {
		want[name] = 0o644
	}
	if len(want) != 7 {
		t.Errorf("there are %v", want)
	}
	for name, want := range want {
		if stat, err := os.Stat(filepath.Join(dir, name)); err != nil || stat.Mode() != want {
			t.Errorf("%s: %v, %v; want %v", name, stat, err, want)
		}
	}
}

func TestAnotherUserCanReadAllFiles(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can become another user")
	}
	before := syscall.Umask(0o077)
	defer syscall.Umask(before)
	// Not t.TempDir, whose parents only their owner may enter.
	dir, err := os.MkdirTemp("", "announce-")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	}()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := (announce.Files{Dir: dir}).Announce(t.Context(), claim(port("game", 30007))); err != nil {
		t.Fatal(err)
	}
	cat := exec.CommandContext(t.Context(), "cat", "host", "port", "endpoint", "env", "claim.json", "ports/game")
	cat.Dir = dir
	cat.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65532, Gid: 65532}}
	if out, err := cat.CombinedOutput(); err != nil || !strings.Contains(string(out), "PORTLEASE_PORT_GAME='30007'") {
		t.Errorf("another user reads %q, %v", out, err)
	}
}

func TestFilesOfOtherPortsReplaceTheFormer(t *testing.T) {
	dir := t.TempDir()
	files := announce.Files{Dir: dir}
	for _, c := range []api.Claim{claim(port("game", 30007), port("chat", 30008)), claim(port("game", 31000))} {
		if err := files.Announce(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	found := read(t, dir)
	if _, stale := found["ports/chat"]; stale || found["ports/game"] != "31000\n" || found["endpoint"] != "games.elb.example:31000\n" {
		t.Errorf("found %v", found)
	}
}

func TestWithdrawRemovesOnlyItsOwnFiles(t *testing.T) {
	dir := t.TempDir()
	files := announce.Files{Dir: dir}
	if err := os.WriteFile(filepath.Join(dir, "save.dat"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := files.Announce(t.Context(), claim(port("game", 30007))); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := files.Withdraw(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if found := read(t, dir); len(found) != 1 || found["save.dat"] != "mine" {
		t.Errorf("found %v", found)
	}
}

// A reader that polls without pause never sees a half-written file.
func TestReadersSeeWholeFiles(t *testing.T) {
	dir := t.TempDir()
	files := announce.Files{Dir: dir}
	claims := []api.Claim{
		claim(port("game", 30007)),
		{LoadBalancer: api.LoadBalancer{Host: strings.Repeat("long.", 2000) + "example"}, Ports: []api.ClaimedPort{port("game", 31007)}},
	}
	whole := make(map[string]bool)
	for _, c := range claims {
		if err := files.Announce(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		whole[read(t, dir)["env"]] = true
	}
	stop := make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			text, err := os.ReadFile(filepath.Join(dir, "env"))
			if err != nil || !whole[string(text)] {
				t.Errorf("saw %d bytes, %v", len(text), err)
				return
			}
		}
	})
	for n := range 50 {
		if err := files.Announce(t.Context(), claims[n%2]); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	reader.Wait()
}

func TestFailuresAreReturned(t *testing.T) {
	missing := announce.Files{Dir: filepath.Join(t.TempDir(), "file")}
	if err := os.WriteFile(missing.Dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := missing.Announce(t.Context(), claim(port("game", 30007))); err == nil {
		t.Error("wrote into something that is not a folder")
	}
	if err := missing.Withdraw(t.Context()); err == nil {
		t.Error("withdrew from something that is not a folder")
	}
	files := announce.Files{Dir: t.TempDir()}
	if err := files.Announce(t.Context(), claim()); err == nil {
		t.Error("announced a claim without ports")
	}
	quoted := claim(port("game", 30007))
	quoted.LoadBalancer.Host = "a'; rm -rf /; '"
	if err := files.Announce(t.Context(), quoted); err == nil || len(read(t, files.Dir)) != 0 {
		t.Errorf("wrote a host that a shell would run: %v", err)
	}
}
