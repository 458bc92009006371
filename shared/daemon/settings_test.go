package daemon_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/portlease/portlease/shared/daemon"
)

type settings struct {
	pool  string
	port  string
	quiet bool
	wait  time.Duration
	many  int
}

func parse(t *testing.T, env map[string]string, args ...string) (settings, string, error) {
	t.Helper()
	var c settings
	s := daemon.NewSettings("prog", "does things.", func(k string) string { return env[k] })
	s.String(&c.pool, "pool", "X_POOL", "default", "Pool to use.")
	s.String(&c.port, "port", "X_PORT", "80", "Port to use.")
	s.Bool(&c.quiet, "quiet", "X_QUIET", false, "Say less.")
	s.Duration(&c.wait, "wait", "X_WAIT", time.Second, "Time to wait.")
	s.Int(&c.many, "many", "X_MANY", 7, "How many.")
	s.Check("port", func() error {
		if c.port == "0" {
			return errors.New("use 1-65535")
		}
		return nil
	})
	var out bytes.Buffer
	err := s.Parse(args, &out)
	return c, out.String(), err
}

func TestFlagsWinOverEnvironmentWinsOverDefault(t *testing.T) {
	c, _, err := parse(t, map[string]string{"X_POOL": "env", "X_WAIT": "3s", "X_PORT": "", "X_MANY": "12"}, "-pool", "flag", "--quiet")
	if err != nil {
		t.Fatal(err)
	}
	want := settings{pool: "flag", port: "80", quiet: true, wait: 3 * time.Second, many: 12}
	if c != want {
		t.Errorf("got %+v, want %+v", c, want)
	}
}

func TestErrorsAreOneLineWithSettingValueAndRemedy(t *testing.T) {
	for _, test := range []struct {
		name string
		env  map[string]string
		args []string
		want string
	}{
		{"bad bool", nil, []string{"-quiet=perhaps"}, `invalid boolean value "perhaps" for -quiet: neither true nor false (--help lists all flags)`},
		{"bad duration", nil, []string{"-wait=5"}, `invalid value "5" for flag -wait: not a duration: use a number with a unit, as in 30s or 5m (--help lists all flags)`},
		{"bad duration in environment", map[string]string{"X_WAIT": "soon"}, nil, `invalid value "soon" for variable X_WAIT: not a duration: use a number with a unit, as in 30s or 5m`},
		{"negative duration", nil, []string{"-wait=-5s"}, `invalid value "-5s" for flag -wait: negative: use 0s or more (--help lists all flags)`},
		{"bad number", map[string]string{"X_MANY": "1.5"}, nil, `invalid value "1.5" for variable X_MANY: not a whole number of 0 or more`},
		{"negative number", nil, []string{"-many=-1"}, `invalid value "-1" for flag -many: not a whole number of 0 or more (--help lists all flags)`},
		{"checked", map[string]string{"X_PORT": "0"}, nil, `-port (X_PORT) is "0": use 1-65535`},
		{"unknown flag", nil, []string{"-color=red"}, `flag provided but not defined: -color (--help lists all flags)`},
		{"no flag", nil, []string{"start"}, `argument "start" is not a flag (--help lists all flags)`},
		{"missing value", nil, []string{"-pool"}, `flag needs an argument: -pool (--help lists all flags)`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, out, err := parse(t, test.env, test.args...)
			if err == nil || err.Error() != test.want {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
			if out != "" {
				t.Errorf("printed %q beside the error", out)
			}
		})
	}
}

func TestHelpIsAnAlignedTable(t *testing.T) {
	_, out, err := parse(t, nil, "--help")
	if !errors.Is(err, daemon.ErrHelp) {
		t.Fatalf("got %v, want ErrHelp", err)
	}
	_, table, _ := strings.Cut(out, "\n\n")
	want := `Flag    Variable  Default  Meaning
-pool   X_POOL    default  Pool to use.
-port   X_PORT    80       Port to use.
-quiet  X_QUIET   false    Say less.
-wait   X_WAIT    1s       Time to wait.
-many   X_MANY    7        How many.

Also: -help prints this, and -version the version.
`
	if table != want {
		t.Errorf("got\n%s\nwant\n%s", table, want)
	}
}

func TestVersionIsPrintedWhateverIsMissing(t *testing.T) {
	_, out, err := parse(t, nil, "--version", "-port", "0")
	if !errors.Is(err, daemon.ErrHelp) || out != "prog "+daemon.Version()+"\n" {
		t.Errorf("printed %q, %v", out, err)
	}
}
