package kubeapi

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// assetsVariable names a folder with etcd and kube-apiserver, as it does for
// controller-runtime's envtest.
const assetsVariable = "KUBEBUILDER_ASSETS"

var (
	required = []string{"etcd", "kube-apiserver"}
	programs = append([]string{"kubectl"}, required...)
)

// Assets returns a folder that holds etcd and kube-apiserver.
//
// If KUBEBUILDER_ASSETS is set that is the folder, and one that lacks either
// program is an error. Otherwise both, and kubectl, are built from their Go
// modules into the user's cache folder, once for each Go version and version
// of Kubernetes; processes that ask meanwhile wait for that one build. The
// build takes minutes and tells progress, if not nil, how it is getting on.
func Assets(ctx context.Context, progress io.Writer) (dir string, err error) {
	if progress == nil {
		progress = io.Discard
	}
	if dir := os.Getenv(assetsVariable); dir != "" {
		return dir, complete(dir)
	}
	return server.Build(ctx, progress)
}

// complete reports what a folder named by KUBEBUILDER_ASSETS lacks.
func complete(dir string) error {
	for _, program := range required {
		_, err := exec.LookPath(filepath.Join(dir, program))
		if err != nil {
			return fmt.Errorf("%s=%s has no %s (%w): name a folder that holds %s, or unset it to have them built",
				assetsVariable, dir, program, err, strings.Join(required, " and "))
		}
	}
	return nil
}
