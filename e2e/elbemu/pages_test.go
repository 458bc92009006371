package elbemu_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/portlease/portlease/e2e/elbemu"
)

func newSource(seed uint64) rand.Source { return rand.NewPCG(seed, seed) }

// If the resources of one page are deleted, the next page still shows all that follow.
func TestMarkersSurviveDeletions(t *testing.T) {
	w := newWorld(t, elbemu.Config{})
	var made []string
	for i := range 7 {
		made = append(made, w.targetGroup(fmt.Sprintf("g-%d", i), types.ProtocolEnumTcp, 80))
	}
	var seen []string
	pages := elb.NewDescribeTargetGroupsPaginator(w, &elb.DescribeTargetGroupsInput{PageSize: new(int32(3))})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range page.TargetGroups {
			seen = append(seen, *g.TargetGroupArn)
			if _, err := w.DeleteTargetGroup(t.Context(), &elb.DeleteTargetGroupInput{TargetGroupArn: g.TargetGroupArn}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !slices.Equal(seen, made) {
		t.Fatalf("saw %d of %d", len(seen), len(made))
	}
}

func TestLastPageHasNoMarker(t *testing.T) {
	w := newWorld(t, elbemu.Config{})
	for i := range 4 {
		w.targetGroup(fmt.Sprintf("g-%d", i), types.ProtocolEnumTcp, 80)
	}
	first, err := w.DescribeTargetGroups(t.Context(), &elb.DescribeTargetGroupsInput{PageSize: new(int32(2))})
	if err != nil || first.NextMarker == nil {
		t.Fatal(first, err)
	}
	last, err := w.DescribeTargetGroups(t.Context(), &elb.DescribeTargetGroupsInput{PageSize: new(int32(2)), Marker: first.NextMarker})
	if err != nil || last.NextMarker != nil || len(last.TargetGroups) != 2 {
		t.Fatal(last, err)
	}
	_, err = w.DescribeTargetGroups(t.Context(), &elb.DescribeTargetGroupsInput{Marker: new("nonsense")})
	wantCode(t, err, "ValidationError")
}
