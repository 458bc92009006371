package kubelease_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
)

// filled returns a value with a different content in every field, however deep, so that
// a lost field shows.
func filled[T any](t *testing.T) T {
	t.Helper()
	var v T
	n := 0
	fill(t, reflect.ValueOf(&v).Elem(), &n)
	return v
}

func fill(t *testing.T, v reflect.Value, n *int) {
	t.Helper()
	*n++
	switch v.Interface().(type) {
	case time.Time:
		// Leases keep microseconds.
		v.Set(reflect.ValueOf(time.Date(2001, 2, 3, 4, 5, *n, 6000*(*n), time.UTC)))
		return
	case time.Duration:
		// Leases keep seconds.
		v.SetInt(int64(time.Duration(*n) * time.Second))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("text-%d", *n))
	case reflect.Int:
		v.SetInt(int64(*n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(t, v.Index(i), n)
		}
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(t, key, n)
		fill(t, value, n)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Struct:
		for _, field := range v.Fields() {
			fill(t, field, n)
		}
	default:
		t.Fatalf("a record has a %s: extend fill", v.Type())
	}
}

// inUTC sets all times to UTC, as filled does.
func inUTC(v reflect.Value) {
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(v.Interface().(time.Time).UTC()))
	case v.Kind() == reflect.Struct:
		for _, field := range v.Fields() {
			inUTC(field)
		}
	}
}

// roundTrip writes a record on one replica and reads it on another.
func roundTrip[T any](t *testing.T, name string, table func(replica) ledger.Table[T]) {
	namespace := newNamespace(t)
	want := filled[T](t)
	written, err := table(open(t, namespace, nil)).Create(t.Context(), name, want)
	must(t, err)
	b := open(t, namespace, nil)
	read, err := table(b).Get(t.Context(), name)
	must(t, err)
	seen, ok := found(table(b), name)
	if !ok {
		t.Fatal("the cache does not have it")
	}
	for what, got := range map[string]ledger.Record[T]{"written": written, "read": read, "seen": seen} {
		inUTC(reflect.ValueOf(&got.Value).Elem())
		if diff := cmp.Diff(want, got.Value); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
		if got.Name != name || got.UID != written.UID || got.Version != written.Version {
			t.Errorf("%s is %+v, want %+v", what, got, written)
		}
	}
	// A record with nothing but a state has nothing else when read.
	var empty T
	reflect.ValueOf(&empty).Elem().FieldByName("State").SetString("empty")
	if d := reflect.ValueOf(&empty).Elem().FieldByName("Duration"); d.IsValid() {
		d.SetInt(int64(time.Second)) // a Lease must have one
	}
	read.Value = empty
	read, err = table(b).Update(t.Context(), read)
	must(t, err)
	read, err = table(b).Get(t.Context(), name)
	must(t, err)
	if diff := cmp.Diff(empty, read.Value); diff != "" {
		t.Errorf("the empty record (-want +got):\n%s", diff)
	}
}

func TestPortRoundTrip(t *testing.T) {
	roundTrip(t, "lb-1", func(r replica) ledger.Table[ledger.Port] { return r.Ports() })
}

func TestClaimRoundTrip(t *testing.T) {
	roundTrip(t, "claim-1", func(r replica) ledger.Table[ledger.Claim] { return r.Claims() })
}

func TestLeasesShowTheirStateToKubectl(t *testing.T) {
	namespace := newNamespace(t)
	a := open(t, namespace, nil)
	port := freePort(1)
	port.State, port.Holder, port.Generation, port.PodUID, port.UpdatedAt = ledger.Bound, "claim-u", 7, "u", time.Now()
	r, err := a.Ports().Create(t.Context(), "lb-1", port)
	must(t, err)
	_, err = a.Claims().Create(t.Context(), "claim-u", ledger.Claim{
		Namespace: "games", Pod: "game-0", PodUID: "u", PodIP: "fd00::1", PreviousIP: "10.0.0.1", State: ledger.Granted, Duration: 2 * time.Minute, RenewedAt: time.Now(),
	})
	must(t, err)
	leases := a.kube.CoordinationV1().Leases(namespace)
	for selector, want := range map[string]int{
		"portlease.dev/kind=port": 1, "portlease.dev/kind=claim": 1, "portlease.dev/pod-uid=u": 2, "portlease.dev/state=bound": 1,
		"portlease.dev/state=granted": 1, "ip.portlease.dev/fd000000000000000000000000000001=current": 1, "ip.portlease.dev/10.0.0.1=previous": 1,
	} {
		list, err := leases.List(t.Context(), metav1.ListOptions{LabelSelector: selector})
		if err != nil || len(list.Items) != want {
			t.Errorf("%s finds %d, %v; want %d", selector, len(list.Items), err, want)
		}
	}
	l, err := leases.Get(t.Context(), "lb-1", metav1.GetOptions{})
	must(t, err)
	if *l.Spec.HolderIdentity != "claim-u" || *l.Spec.LeaseTransitions != 7 || l.Spec.RenewTime.IsZero() {
		t.Errorf("the port lease says %+v", l.Spec)
	}
	c, err := leases.Get(t.Context(), "claim-u", metav1.GetOptions{})
	must(t, err)
	if *c.Spec.HolderIdentity != "games/game-0" || *c.Spec.LeaseDurationSeconds != 120 || c.Spec.RenewTime.IsZero() {
		t.Errorf("the claim lease says %+v", c.Spec)
	}
	// A free port does not belong to the last pod any more.
	r.Value.State, r.Value.Holder = ledger.Free, ""
	_, err = a.Ports().Update(t.Context(), r)
	must(t, err)
	list, err := leases.List(t.Context(), metav1.ListOptions{LabelSelector: "portlease.dev/pod-uid=u"})
	if err != nil || len(list.Items) != 1 || list.Items[0].Name != "claim-u" {
		t.Errorf("the pod has %+v, %v", list.Items, err)
	}
}

// kubectl get leases must show who has a port without anybody decoding a record.
func TestLeasesShowWhoHasAPort(t *testing.T) {
	namespace := newNamespace(t)
	a := open(t, namespace, nil)
	pod := strings.Repeat("game-srv-", 7) + "0" // longer than a label
	took := time.Now().Add(-time.Minute)
	c := ledger.Claim{
		Namespace: "games", Pod: pod, PodUID: "u", PodIP: "10.0.0.1", State: ledger.Granted, LoadBalancer: api.LoadBalancer{Host: "games.elb.example"},
		Ports:    []ledger.PlannedPort{{ListenerPort: 30007, Fence: api.Fence{Lease: "lb-30007"}}, {ListenerPort: 30008, Fence: api.Fence{Lease: "lb-30008"}}},
		Duration: 2 * time.Minute, RenewedAt: time.Now(), AcquiredAt: took,
	}
	_, err := a.Claims().Create(t.Context(), "claim-u", c)
	must(t, err)
	_, err = a.Ports().Create(t.Context(), "lb-30007", c.Holding("claim-u", 0, took))
	must(t, err)
	_, err = a.Ports().Create(t.Context(), "lb-30009", ledger.Port{ListenerPort: 30009, State: ledger.Free, Pod: "former", Namespace: "games", PodUID: "f"})
	must(t, err)
	list, err := a.kube.CoordinationV1().Leases(namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "portlease.dev/port=30007"})
	must(t, err)
	if len(list.Items) != 1 {
		t.Fatalf("%d Leases are of port 30007", len(list.Items))
	}
	l := list.Items[0]
	if l.Name != "lb-30007" || l.Labels["portlease.dev/namespace"] != "games" || l.Labels["portlease.dev/pod"] != pod[:62] || l.Labels["portlease.dev/state"] != "claimed" ||
		l.Spec.AcquireTime == nil || !l.Spec.AcquireTime.Time.Equal(took.Truncate(time.Microsecond)) || l.Spec.RenewTime.Time.Before(l.Spec.AcquireTime.Time) {
		t.Errorf("the port's Lease is %+v", l)
	}
	claim, err := a.kube.CoordinationV1().Leases(namespace).Get(t.Context(), "claim-u", metav1.GetOptions{})
	must(t, err)
	if claim.Annotations["portlease.dev/endpoint"] != "games.elb.example:30007,games.elb.example:30008" || *claim.Spec.HolderIdentity != "games/"+pod ||
		!claim.Spec.AcquireTime.Time.Equal(took.Truncate(time.Microsecond)) {
		t.Errorf("the claim's Lease is %+v", claim)
	}
	former, err := a.kube.CoordinationV1().Leases(namespace).Get(t.Context(), "lb-30009", metav1.GetOptions{})
	must(t, err)
	if former.Labels["portlease.dev/pod"] != "" || former.Spec.AcquireTime != nil {
		t.Errorf("the Lease of a free port names its former holder: %+v", former)
	}
}
