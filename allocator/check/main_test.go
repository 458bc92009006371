package check_test

import (
	"os"
	"testing"

	"github.com/portlease/portlease/e2e/kubeapi"
)

var cluster *kubeapi.API

func TestMain(m *testing.M) {
	os.Exit(kubeapi.Main(kubeapi.Config{}, func(k *kubeapi.API) int {
		cluster = k
		return m.Run()
	}))
}
