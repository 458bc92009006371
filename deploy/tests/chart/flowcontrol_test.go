package chart_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/portlease/portlease/deploy/tests/chart"
)

// classified returns the UIDs of the FlowSchema and of the priority level that the API
// server handled a request of that service account by.
func classified(ctx context.Context, namespace, account, path string) (flowSchema, priorityLevel string, err error) {
	config, err := cluster.ServiceAccount(ctx, namespace, account)
	if err != nil {
		return "", "", err
	}
	transport, err := rest.TransportFor(config)
	if err != nil {
		return "", "", err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, config.Host+path, nil)
	if err != nil {
		return "", "", err
	}
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return "", "", err
	}
	defer answer.Body.Close()
	return answer.Header.Get(flowcontrolv1.ResponseHeaderMatchedFlowSchemaUID), answer.Header.Get(flowcontrolv1.ResponseHeaderMatchedPriorityLevelConfigurationUID), nil
}

// TestAllocatorHasItsOwnPriorityLevel checks how the API server classifies requests of the
// allocator, of an agent, and of an allocator in another namespace.
func TestAllocatorHasItsOwnPriorityLevel(t *testing.T) {
	r := newRelease(t)
	schema, err := r.admin.FlowcontrolV1().FlowSchemas().Get(t.Context(), "portlease-allocator", metav1.GetOptions{})
	must(t, err)
	level, err := r.admin.FlowcontrolV1().PriorityLevelConfigurations().Get(t.Context(), "portlease-allocator", metav1.GetOptions{})
	must(t, err)
	leases := "/apis/coordination.k8s.io/v1/namespaces/" + r.namespace + "/leases"
	paths := []string{leases, leases + "/portlease-janitor", "/api/v1/namespaces/" + r.games + "/pods/game-0", "/apis/authentication.k8s.io/v1/tokenreviews", "/metrics"}
	for _, path := range paths {
		r.eventually("requests for "+path+" to have the priority level", func() error {
			gotSchema, gotLevel, err := classified(t.Context(), r.namespace, "portlease-allocator", path)
			if err == nil && (gotSchema != string(schema.UID) || gotLevel != string(level.UID)) {
				err = fmt.Errorf("classified by %s into %s, want %s and %s", gotSchema, gotLevel, schema.UID, level.UID)
			}
			return err
		})
	}
	for namespace, account := range map[string]string{r.games: "game", r.namespace: "other", "default": "portlease-allocator"} {
		got, _, err := classified(t.Context(), namespace, account, leases)
		must(t, err)
		if got == "" || got == string(schema.UID) {
			t.Errorf("a request of service account %s/%s was classified by %q", namespace, account, got)
		}
	}
	r.writeValues("flowControl: {enabled: false}")
	r.must(r.run("upgrade", chart.Folder(), "--values", r.values))
	if _, err := r.admin.FlowcontrolV1().FlowSchemas().Get(t.Context(), "portlease-allocator", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("after flowControl was disabled: %v", err)
	}
	r.eventually("requests to have another priority level", func() error {
		got, _, err := classified(t.Context(), r.namespace, "portlease-allocator", leases)
		if err == nil && got == string(schema.UID) {
			err = fmt.Errorf("still classified by %s", got)
		}
		return err
	})
	r.must(r.run("uninstall", "--no-hooks"))
}
