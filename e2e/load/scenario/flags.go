package scenario

import (
	"errors"
	"flag"
	"math/rand/v2"
	"strconv"
)

// SeedFlag declares -seed. The function that it returns draws a seed if none, or 0,
// was given.
func SeedFlag(flags *flag.FlagSet) func() uint64 {
	seed := flags.Uint64("seed", 0, "seed of all random choices; 0 draws one")
	return func() uint64 {
		for *seed == 0 {
			*seed = rand.Uint64()
		}
		return *seed
	}
}

// CountFlag declares the flag of a number that must be at least 1.
func CountFlag(flags *flag.FlagSet, number *int, name string, usual int, usage string) {
	*number = usual
	flags.Func(name, usage+" (default "+strconv.Itoa(usual)+")", func(text string) (err error) {
		if *number, err = strconv.Atoi(text); err == nil && *number < 1 {
			err = errors.New("it must be at least 1")
		}
		return err
	})
}
