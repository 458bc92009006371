package kubeapi

import (
	"fmt"
	"net/http"
	"slices"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestAuditEntries(t *testing.T) {
	namespace := newNamespace(t)
	config, err := shared.ServiceAccount(t.Context(), namespace, "agent")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newClient(t, config).CoordinationV1().Leases(namespace).Get(t.Context(), "port", metav1.GetOptions{}); !apierrors.IsForbidden(err) {
		t.Fatalf("getting a Lease without a right: %v, want Forbidden", err)
	}
	watch, err := shared.client.CoreV1().Pods(namespace).Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	leasePath := "/apis/coordination.k8s.io/v1/namespaces/" + namespace + "/leases/port"
	want := []AuditEntry{
		{
			User: "admin", Verb: "create", Resource: "serviceaccounts", Subresource: "token", Namespace: namespace, Name: "agent",
			Path: "/api/v1/namespaces/" + namespace + "/serviceaccounts/agent/token", Code: http.StatusCreated,
		},
		{
			User: "system:serviceaccount:" + namespace + ":agent", Verb: "get", Group: "coordination.k8s.io",
			Resource: "leases", Namespace: namespace, Name: "port", Path: leasePath, Code: http.StatusForbidden,
		},
		{
			User: "admin", Verb: "watch", Resource: "pods", Namespace: namespace,
			Path: "/api/v1/namespaces/" + namespace + "/pods?watch=true", Code: http.StatusOK,
		},
	}
	expect := func() error {
		entries, err := shared.AuditEntries()
		if err != nil {
			t.Fatal(err)
		}
		entries = slices.DeleteFunc(entries, func(e AuditEntry) bool { return e.Namespace != namespace })
		for _, entry := range want {
			if n := count(entries, entry); n != 1 {
				return fmt.Errorf("%d entries %+v among %+v, want 1", n, entry, entries)
			}
		}
		return nil
	}
	eventually(t, expect)
	watch.Stop()
	eventually(t, expect)
}

func TestAuditEntriesFailsWithoutConfigAudit(t *testing.T) {
	if _, err := new(API).AuditEntries(); err == nil {
		t.Error("entries of an API that records none")
	}
}

func TestReadAudit(t *testing.T) {
	const whole = `{"auditID":"1","stage":"ResponseStarted","verb":"watch","responseStatus":{"code":200}}
{"auditID":"2","stage":"ResponseComplete","verb":"get","responseStatus":{"code":404}}
{"auditID":"1","stage":"ResponseComplete","verb":"watch","responseStatus":{"code":200}}
`
	want := []AuditEntry{{Verb: "watch", Code: 200}, {Verb: "get", Code: 404}}
	got, err := readAudit([]byte(whole + `{"auditID":"3","verb":"li`))
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("readAudit: %+v, %v, want %+v", got, err, want)
	}
	if _, err := readAudit([]byte("nonsense\n")); err == nil {
		t.Error("readAudit took a line that is no JSON")
	}
}

func count(entries []AuditEntry, entry AuditEntry) int {
	n := 0
	for _, e := range entries {
		if e == entry {
			n++
		}
	}
	return n
}
