package chart_test

import (
	"os"
	"testing"

	"github.com/portlease/portlease/e2e/kubeapi"
)

// cluster is the API server that the tests of this package share.
var cluster *kubeapi.API

func TestMain(m *testing.M) {
	os.Exit(kubeapi.Main(kubeapi.Config{}, func(k *kubeapi.API) int {
		cluster = k
		return m.Run()
	}))
}
