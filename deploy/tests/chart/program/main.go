// Command program prints the path of Helm, and builds it first if need be. Run
// before the tests it keeps the minutes of the first build out of their time limit,
// and shows how it is getting on:
//
//	go run ./deploy/tests/chart/program
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/portlease/portlease/deploy/tests/chart"
)

func main() { os.Exit(run(os.Stdout, os.Stderr)) }

func run(stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	program, err := chart.Program(ctx, stderr)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	fmt.Fprintln(stdout, program)
	return 0
}
