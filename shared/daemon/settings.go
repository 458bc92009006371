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

// ErrHelp is what Parse returns after it has printed the help or the version.
var ErrHelp = flag.ErrHelp

// Settings declares what a process can be told. Each setting has a flag, an
// environment variable, a default and a meaning, from which the help is made. A flag
// wins over the environment, which wins over the default; an empty variable counts as
// not set.
//
// It is package flag with variables. Of the libraries that have both, kong adds 4.5 MB
// to the agent's binary, and ff reads the environment of the process only, under names
// made from those of the flags.
type Settings struct {
	program, about string
	getenv         func(string) string
	flags          *flag.FlagSet
	list           []*setting
	// version asks for the version.
	version bool
}

type setting struct {
	name, env, fallback, meaning string
	// value is as it was given, for errors.
	value string
	set   func(string) error
	check func() error
}

// NewSettings makes an empty set; about is the sentence that opens the help.
func NewSettings(program, about string, getenv func(string) string) *Settings {
	flags := flag.NewFlagSet(program, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	s := &Settings{program: program, about: about, getenv: getenv, flags: flags}
	flags.BoolVar(&s.version, "version", false, "")
	return s
}

// String declares a text. Like its siblings it panics if the flag or the variable is
// declared already, which is a defect of the program.
func (s *Settings) String(target *string, name, env, fallback, meaning string) {
	*target = fallback
	s.flags.Func(name, "", s.declare(name, env, fallback, meaning, func(v string) error {
		*target = v
		return nil
	}))
}

// Bool declares a switch. The flag alone means true.
func (s *Settings) Bool(target *bool, name, env string, fallback bool, meaning string) {
	*target = fallback
	s.flags.BoolFunc(name, "", s.declare(name, env, strconv.FormatBool(fallback), meaning, func(v string) (err error) {
		if *target, err = strconv.ParseBool(v); err != nil {
			return errors.New("neither true nor false")
		}
		return nil
	}))
}

// Int declares a whole number, which is never negative.
func (s *Settings) Int(target *int, name, env string, fallback int, meaning string) {
	*target = fallback
	s.flags.Func(name, "", s.declare(name, env, strconv.Itoa(fallback), meaning, func(v string) (err error) {
		if *target, err = strconv.Atoi(v); err != nil || *target < 0 {
			return errors.New("not a whole number of 0 or more")
		}
		return nil
	}))
}

// Duration declares a length of time, which is never negative.
func (s *Settings) Duration(target *time.Duration, name, env string, fallback time.Duration, meaning string) {
	*target = fallback
	s.flags.Func(name, "", s.declare(name, env, fallback.String(), meaning, func(v string) (err error) {
		*target, err = time.ParseDuration(v)
		switch {
		case err != nil:
			return errors.New("not a duration: use a number with a unit, as in 30s or 5m")
		case *target < 0:
			return errors.New("negative: use 0s or more")
		}
		return nil
	}))
}

// declare adds a setting and gives what sets its value.
func (s *Settings) declare(name, env, fallback, meaning string, set func(string) error) func(string) error {
	for _, other := range s.list {
		if other.env == env {
			panic("environment variable " + env + " is declared twice")
		}
	}
	one := &setting{name: name, env: env, fallback: fallback, meaning: meaning, value: fallback}
	one.set = func(v string) error {
		one.value = v
		return set(v)
	}
	s.list = append(s.list, one)
	return one.set
}

// Check validates a setting once all are read. The error of check should say what is
// wrong and what to give instead; Parse adds the name and value of the setting. It
// panics if the flag is not declared.
func (s *Settings) Check(name string, check func() error) {
	for _, one := range s.list {
		if one.name == name {
			one.check = check
			return
		}
	}
	panic("no setting has the flag " + name)
}

// Parse reads environment and arguments. It prints the help or the version to out and returns
// ErrHelp when asked to. Any other error is one line with the setting, its value and the remedy.
func (s *Settings) Parse(args []string, out io.Writer) error {
	for _, one := range s.list {
		if v := s.getenv(one.env); v != "" {
			if err := one.set(v); err != nil {
				return fmt.Errorf("invalid value %q for variable %s: %w", v, one.env, err)
			}
		}
	}
	switch err := s.flags.Parse(args); {
	case errors.Is(err, ErrHelp):
		if failed := s.help(out); failed != nil {
			return fmt.Errorf("printing the help: %w", failed)
		}
		return err
	case err != nil:
		return fmt.Errorf("%w (--help lists all flags)", err)
	case s.version:
		if _, err := fmt.Fprintln(out, s.program, Version()); err != nil {
			return fmt.Errorf("printing the version: %w", err)
		}
		return ErrHelp
	}
	if rest := s.flags.Args(); len(rest) > 0 {
		return fmt.Errorf("argument %q is not a flag (--help lists all flags)", rest[0])
	}
	for _, one := range s.list {
		if one.check == nil {
			continue
		}
		if err := one.check(); err != nil {
			return fmt.Errorf("-%s (%s) is %q: %w", one.name, one.env, one.value, err)
		}
	}
	return nil
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
		if _, err := fmt.Fprintf(table, "-%s\t%s\t%s\t%s\n", one.name, one.env, fallback, meaning); err != nil {
			return err
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(out, "\nAlso: -help prints this, and -version the version.")
	return err
}
