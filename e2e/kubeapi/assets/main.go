// Command assets prints the folder that holds etcd and kube-apiserver, and
// builds them first if need be. Run before the tests it keeps the minutes of
// the first build out of their time limit, and shows how it is getting on:
//
//	go run ./e2e/kubeapi/assets
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/portlease/portlease/e2e/kubeapi"
)

func main() { os.Exit(run(os.Stdout, os.Stderr)) }

func run(stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	dir, err := kubeapi.Assets(ctx, stderr)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	fmt.Fprintln(stdout, dir)
	return 0
}
