// Command assets builds the programs that tests need, if they are missing, and prints
// where they are: etcd and kube-apiserver, and Helm. Run it before the tests: the first
// build takes longer than the time limit of go test.
//
//	go run ./e2e/kubeapi/assets
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/portlease/portlease/deploy/tests/chart"
	"github.com/portlease/portlease/e2e/kubeapi"
)

func main() { os.Exit(run(os.Stdout, os.Stderr)) }

func run(stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	folder, err := kubeapi.Assets(ctx, stderr)
	helm, helmErr := chart.Program(ctx, stderr)
	if err := errors.Join(err, helmErr); err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	fmt.Fprintln(stdout, folder)
	fmt.Fprintln(stdout, helm)
	return 0
}
