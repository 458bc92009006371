package elb_test

import (
	"errors"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

func TestBindingIsCreatedAndDeletedIdempotently(t *testing.T) {
	a := newAccount(t, elbemu.Config{})
	ctx := t.Context()
	lb := a.loadBalancer("games")
	group := a.group(3)
	if again := a.group(3); again != group {
		t.Errorf("creating again gave %s, want %s", again, group)
	}
	for range 2 {
		if err := a.RegisterTarget(ctx, group, "127.30.0.7", 7777); err != nil {
			t.Fatal(err)
		}
	}
	listener := must[string](t)(a.CreateListener(ctx, listenerSpec(lb, group, 30000)))
	if again := must[string](t)(a.CreateListener(ctx, listenerSpec(lb, group, 30000))); again != listener {
		t.Errorf("creating again gave %s, want %s", again, listener)
	}

	targets := must[[]elb.Target](t)(a.Targets(ctx, group))
	if len(targets) != 1 || targets[0].IP != "127.30.0.7" || targets[0].Port != 7777 || targets[0].State == "" {
		t.Errorf("targets are %+v", targets)
	}
	listeners := must[[]elb.Listener](t)(a.Listeners(ctx, lb))
	want := []elb.Listener{{ARN: listener, LoadBalancerARN: lb, Port: 30000, Protocol: "UDP", TargetGroupARNs: []string{group}}}
	if diff := cmp.Diff(want, listeners); diff != "" {
		t.Errorf("listeners (-want +got):\n%s", diff)
	}
	if g := must[elb.TargetGroup](t)(a.TargetGroup(ctx, group)); g.ARN != group || !slices.Equal(g.LoadBalancerARNs, []string{lb}) {
		t.Errorf("target group is %+v", g)
	}
	found := must[map[string]map[string]string](t)(a.Tags(ctx, group, listener))
	for _, arn := range []string{group, listener} {
		if read, ok := elb.ReadTags(found[arn]); !ok || read != tags {
			t.Errorf("tags of %s are %v", arn, found[arn])
		}
	}

	if err := a.DeleteTargetGroup(ctx, group); !errors.Is(err, elb.ErrInUse) {
		t.Errorf("deleting a used target group gave %v", err)
	}
	for range 2 {
		if err := a.DeleteListener(ctx, listener); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.DeregisterTargets(ctx, group, targets); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := a.DeleteTargetGroup(ctx, group); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.TargetGroup(ctx, group); !errors.Is(err, elb.ErrTargetGroupGone) {
		t.Errorf("describing a gone target group gave %v", err)
	}
	if _, err := a.Targets(ctx, group); !errors.Is(err, elb.ErrTargetGroupGone) {
		t.Errorf("targets of a gone target group gave %v", err)
	}
}

func TestAttributesAndHealthCheckTimeoutAreSet(t *testing.T) {
	a := newAccount(t, elbemu.Config{})
	ctx := t.Context()
	spec := groupSpec(1)
	spec.HealthCheck.TimeoutSeconds = 3
	group := must[string](t)(a.CreateTargetGroup(ctx, spec))
	if text := a.post(url.Values{"Action": {"DescribeTargetGroups"}}); !strings.Contains(text, "<HealthCheckTimeoutSeconds>3<") {
		t.Errorf("the timeout is not 3: %s", text)
	}
	if err := a.SetAttributes(ctx, group, nil); err != nil || a.calls("ModifyTargetGroupAttributes") != 0 {
		t.Errorf("setting nothing gave %v", err)
	}
	for range 2 {
		if err := a.SetAttributes(ctx, group, map[string]string{"deregistration_delay.timeout_seconds": "7", "stickiness.enabled": "true"}); err != nil {
			t.Fatal(err)
		}
	}
	text := a.post(url.Values{"Action": {"DescribeTargetGroupAttributes"}, "TargetGroupArn": {group}})
	for key, value := range map[string]string{"deregistration_delay.timeout_seconds": "7", "stickiness.enabled": "true"} {
		if pattern := regexp.MustCompile(`(?s)<Key>` + regexp.QuoteMeta(key) + `</Key>\s*<Value>` + value + `</Value>`); !pattern.MatchString(text) {
			t.Errorf("%s is not %s: %s", key, value, text)
		}
	}
	expect(t, "attribute that UDP does not allow", a.SetAttributes(ctx, group, map[string]string{"preserve_client_ip.enabled": "false"}), elb.ErrRefused)
	if err := a.DeleteTargetGroup(ctx, group); err != nil {
		t.Fatal(err)
	}
	expect(t, "gone", a.SetAttributes(ctx, group, map[string]string{"stickiness.enabled": "true"}), elb.ErrTargetGroupGone)
}

func TestDeletingAnAbsentTargetGroupSucceedsEvenIfAWSFails(t *testing.T) {
	a := newAccount(t, elbemu.Config{Switches: elbemu.Switches{MissingTargetGroupFails: true}})
	group := a.group(1)
	for range 2 {
		if err := a.DeleteTargetGroup(t.Context(), group); err != nil {
			t.Fatal(err)
		}
	}
}

// Only the answer to a deletion frees a port.
func TestDeletionSucceedsOnlyIfAWSConfirmsIt(t *testing.T) {
	a := newAccount(t, elbemu.Config{})
	ctx := t.Context()
	group := a.group(1)
	listener := must[string](t)(a.CreateListener(ctx, listenerSpec(a.loadBalancer("games"), group, 30000)))
	for action, remove := range map[string]func() error{
		"DeleteListener":    func() error { return a.DeleteListener(ctx, listener) },
		"DeleteTargetGroup": func() error { return a.DeleteTargetGroup(ctx, group) },
	} {
		a.failOn(action, 400, "Throttling", "slow down")
		expect(t, action+" that is throttled", remove(), elb.ErrThrottled)
		a.failOn(action, 403, "AccessDenied", "no")
		expect(t, action+" that is denied", remove(), elb.ErrDenied)
		a.failOn(action, 500, "InternalFailure", "unknown")
		if err := remove(); err == nil {
			t.Errorf("%s with an unknown outcome succeeded", action)
		}
	}
}

func TestRefusedBindingsHaveTheirErrors(t *testing.T) {
	a := newAccount(t, elbemu.Config{Quotas: elbemu.Quotas{Listeners: 1}})
	ctx := t.Context()
	lb := a.loadBalancer("games")
	group, other := a.group(1), a.group(2)
	must[string](t)(a.CreateListener(ctx, listenerSpec(lb, group, 30000)))

	_, err := a.CreateListener(ctx, listenerSpec(lb, other, 30000))
	expect(t, "port of another listener", err, elb.ErrListenerTaken)
	_, err = a.CreateListener(ctx, listenerSpec(lb, other, 30001))
	expect(t, "one listener too many", err, elb.ErrQuota)
	_, err = a.CreateListener(ctx, listenerSpec(lb, strings.Replace(group, "targetgroup/pl-", "targetgroup/xx-", 1), 30002))
	expect(t, "target group gone", err, elb.ErrTargetGroupGone)
	_, err = a.CreateListener(ctx, listenerSpec(strings.Replace(lb, "games", "other", 1), other, 30000))
	expect(t, "load balancer gone", err, elb.ErrLoadBalancerGone)
	_, err = a.Listeners(ctx, strings.Replace(lb, "games", "other", 1))
	expect(t, "listing of a load balancer gone", err, elb.ErrLoadBalancerGone)
	different := groupSpec(1)
	different.Port++
	_, err = a.CreateTargetGroup(ctx, different)
	expect(t, "same name, other settings", err, elb.ErrDifferent)
	expect(t, "address outside the VPC", a.RegisterTarget(ctx, group, "10.99.0.1", 7777), elb.ErrRefused)
}

func TestListingsReadAllPages(t *testing.T) {
	a := newAccount(t, elbemu.Config{})
	ctx := t.Context()
	lb := a.loadBalancer("games")
	arns := make(map[string]bool)
	for n := range 405 {
		arns[a.group(n)] = true
	}
	groups := must[[]elb.TargetGroup](t)(a.TargetGroups(ctx))
	for _, g := range groups {
		delete(arns, g.ARN)
		if !strings.HasPrefix(g.Name, elb.TargetGroupPrefix) {
			t.Errorf("name is %q", g.Name)
		}
	}
	if len(groups) != 405 || len(arns) != 0 {
		t.Errorf("listed %d, missed %d", len(groups), len(arns))
	}
	if n := a.calls("DescribeTargetGroups"); n != 2 {
		t.Errorf("the listing took %d calls, want 2", n)
	}
	for port := range 50 {
		must[string](t)(a.CreateListener(ctx, listenerSpec(lb, groups[port].ARN, 30000+port)))
	}
	if listeners := must[[]elb.Listener](t)(a.Listeners(ctx, lb)); len(listeners) != 50 {
		t.Errorf("listed %d listeners, want 50", len(listeners))
	}
}

func TestTagsLeavesOutARNsThatAreGone(t *testing.T) {
	a := newAccount(t, elbemu.Config{})
	ctx := t.Context()
	var arns []string
	for n := range 45 {
		arns = append(arns, a.group(n))
	}
	want := slices.Clone(arns)
	for _, n := range []int{44, 21, 20, 0} {
		if err := a.DeleteTargetGroup(ctx, arns[n]); err != nil {
			t.Fatal(err)
		}
		want = slices.Delete(want, n, n+1)
	}
	found := must[map[string]map[string]string](t)(a.Tags(ctx, append(arns, arns[3])...))
	if got := slices.Sorted(maps.Keys(found)); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
		t.Errorf("got %d answers, want %d", len(got), len(want))
	}
	for arn, m := range found {
		if _, ok := elb.ReadTags(m); !ok {
			t.Errorf("tags of %s are %v", arn, m)
		}
	}
	if none := must[map[string]map[string]string](t)(a.Tags(ctx)); len(none) != 0 {
		t.Errorf("no ARNs gave %v", none)
	}
}

func TestTargetGroupStaysInUseAfterItsListenerIsDeleted(t *testing.T) {
	now := time.Unix(0, 0)
	a := newAccount(t, elbemu.Config{Now: func() time.Time { return now }, Delays: &elbemu.Delays{InUse: 20 * time.Second}})
	group := a.group(1)
	listener := must[string](t)(a.CreateListener(t.Context(), listenerSpec(a.loadBalancer("games"), group, 30000)))
	if err := a.DeleteListener(t.Context(), listener); err != nil {
		t.Fatal(err)
	}
	expect(t, "just deleted", a.DeleteTargetGroup(t.Context(), group), elb.ErrInUse)
	now = now.Add(21 * time.Second)
	if err := a.DeleteTargetGroup(t.Context(), group); err != nil {
		t.Error(err)
	}
}

func TestReadTagsNeedsAllTags(t *testing.T) {
	if read, ok := elb.ReadTags(tags.Map()); !ok || read != tags {
		t.Fatalf("read %+v, %v", read, ok)
	}
	if tags.Fence() != (api.Fence{Lease: tags.Lease, Epoch: "e1", Generation: 3}) {
		t.Errorf("fence is %+v", tags.Fence())
	}
	for key := range tags.Map() {
		m := tags.Map()
		delete(m, key)
		if read, ok := elb.ReadTags(m); ok {
			t.Errorf("without %s it read %+v", key, read)
		}
	}
	for _, wrong := range []struct{ key, value string }{
		{elb.TagGeneration, "three"}, {elb.TagGeneration, "-1"}, {elb.TagGeneration, "+3"}, {elb.TagGeneration, "03"},
		{elb.TagLease, "lease"}, {elb.TagLease, "lease/"}, {elb.TagLease, "/epoch"}, {elb.TagLease, "a/b/c"},
	} {
		m := tags.Map()
		m[wrong.key] = wrong.value
		if read, ok := elb.ReadTags(m); ok {
			t.Errorf("with %s=%q it read %+v", wrong.key, wrong.value, read)
		}
	}
}

func expect(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got %v, want %v", what, err, want)
	}
}
