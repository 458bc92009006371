package daemon

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// ErrHelp is what Parse returns after it has printed the help.
var ErrHelp = flag.ErrHelp

// Settings is the one place where a process registers what it can be told. Each
// setting has a flag, an environment variable, a default and a meaning, and the
// help is made from them, so it cannot drift. A flag wins over the environment;
// an empty environment variable counts as not set.
type Settings struct {
	program string
	about   string
	getenv  func(string) string
	flags   *flag.FlagSet
	list    []*setting
}

type setting struct {
	flag, env, fallback, meaning string
	kind                         string
	set                          func(string) error
	value                        string
	check                        func() error
}

// NewSettings makes an empty set for the program of that name; about is the
// sentence that opens its help.
func NewSettings(program, about string, getenv func(string) string) *Settings {
	flags := flag.NewFlagSet(program, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	return &Settings{program: program, about: about, getenv: getenv, flags: flags}
}

// String registers a text. It panics when flag or env is registered already, as
// do its siblings: that is a defect of the program.
func (s *Settings) String(target *string, flag, env, fallback, meaning string) {
	*target = fallback
	s.add("text", flag, env, fallback, meaning, func(v string) error {
		*target = v
		return nil
	})
}

// Int registers a whole number.
func (s *Settings) Int(target *int, flag, env string, fallback int, meaning string) {
	*target = fallback
	s.add("number", flag, env, strconv.Itoa(fallback), meaning, func(v string) error {
		n, err := strconv.Atoi(v)
		if err != nil {
			return errors.New("not a whole number: use for example 8080")
		}
		*target = n
		return nil
	})
}

// Bool registers a yes or no. The flag alone means yes.
func (s *Settings) Bool(target *bool, flag, env string, fallback bool, meaning string) {
	*target = fallback
	s.add("bool", flag, env, strconv.FormatBool(fallback), meaning, func(v string) error {
		b, err := strconv.ParseBool(v)
		if err != nil {
			return errors.New("neither true nor false: use one of them")
		}
		*target = b
		return nil
	})
}

// Duration registers a length of time, which is never negative.
func (s *Settings) Duration(target *time.Duration, flag, env string, fallback time.Duration, meaning string) {
	*target = fallback
	s.add("duration", flag, env, fallback.String(), meaning, func(v string) error {
		d, err := time.ParseDuration(v)
		if err != nil {
			return errors.New("not a duration: use a number with a unit, as in 30s or 5m")
		}
		if d < 0 {
			return errors.New("negative: use 0s or more")
		}
		*target = d
		return nil
	})
}

// Check has the setting of that flag looked at once all are read. What check
// returns becomes Parse's error, after the name and value of the setting; it
// should say what is wrong and what to give instead. It panics for a flag that
// is not registered.
func (s *Settings) Check(flag string, check func() error) {
	for _, one := range s.list {
		if one.flag == flag {
			one.check = check
			return
		}
	}
	panic("no setting has the flag " + flag)
}

// Parse reads environment and arguments. It prints the help to out and returns
// ErrHelp when asked to; any other error is one line that names the setting, its
// value and the remedy.
func (s *Settings) Parse(args []string, out io.Writer) error {
	for _, one := range s.list {
		v := s.getenv(one.env)
		if v == "" {
			continue
		}
		if err := one.set(v); err != nil {
			return fmt.Errorf("%s=%q is %w", one.env, v, err)
		}
		one.value = v
	}
	if err := s.parseFlags(args); err != nil {
		if errors.Is(err, ErrHelp) {
			if failed := s.help(out); failed != nil {
				return fmt.Errorf("printing the help: %w", failed)
			}
		}
		return err
	}
	if rest := s.flags.Args(); len(rest) > 0 {
		return fmt.Errorf("argument %q is not a flag: %s takes flags only, --help lists them", rest[0], s.program)
	}
	for _, one := range s.list {
		if one.check == nil {
			continue
		}
		if err := one.check(); err != nil {
			return fmt.Errorf("-%s (%s) is %q: %w", one.flag, one.env, one.value, err)
		}
	}
	return nil
}

func (s *Settings) parseFlags(args []string) error {
	err := s.flags.Parse(args)
	var refused *valueError
	switch {
	case err == nil, errors.Is(err, ErrHelp):
		return err
	case s.refused(&refused):
		return refused
	default:
		return fmt.Errorf("%w: --help lists the flags of %s", err, s.program)
	}
}

// refused finds the value that a flag did not take. Package flag formats the
// error of Value.Set away, so it is kept beside the setting.
func (s *Settings) refused(target **valueError) bool {
	for _, one := range s.list {
		if v, ok := s.flags.Lookup(one.flag).Value.(*flagValue); ok && v.refused != nil {
			*target = v.refused
			return true
		}
	}
	return false
}

func (s *Settings) add(kind, name, env, fallback, meaning string, set func(string) error) {
	for _, one := range s.list {
		if one.env == env {
			panic("environment variable " + env + " is registered twice")
		}
	}
	one := &setting{flag: name, env: env, fallback: fallback, meaning: meaning, kind: kind, set: set, value: fallback}
	s.list = append(s.list, one)
	s.flags.Var(&flagValue{setting: one}, name, meaning)
}

func (s *Settings) help(out io.Writer) error {
	if _, err := fmt.Fprintf(out, "%s: %s\nVersion %s\n\n", s.program, s.about, Version()); err != nil {
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if _, err := fmt.Fprintln(table, "Flag\tVariable\tDefault\tMeaning"); err != nil {
		return err
	}
	for _, one := range s.list {
		fallback := one.fallback
		if fallback == "" {
			fallback = "-"
		}
		meaning := strings.Join(strings.Fields(one.meaning), " ")
		if _, err := fmt.Fprintf(table, "-%s\t%s\t%s\t%s\n", one.flag, one.env, fallback, meaning); err != nil {
			return err
		}
	}
	return table.Flush()
}

// flagValue is a setting as package flag sees it.
type flagValue struct {
	setting *setting
	refused *valueError
}

type valueError struct {
	flag, value string
	reason      error
}

func (e *valueError) Error() string { return fmt.Sprintf("-%s=%q is %v", e.flag, e.value, e.reason) }
func (e *valueError) Unwrap() error { return e.reason }

// String is also called on the zero value, by package flag itself.
func (v *flagValue) String() string {
	if v == nil || v.setting == nil {
		return ""
	}
	return v.setting.value
}

func (v *flagValue) IsBoolFlag() bool { return v.setting != nil && v.setting.kind == "bool" }

func (v *flagValue) Set(text string) error {
	if err := v.setting.set(text); err != nil {
		v.refused = &valueError{flag: v.setting.flag, value: text, reason: err}
		return v.refused
	}
	v.setting.value = text
	return nil
}
