package elb_test

import (
	"testing"

	"github.com/portlease/portlease/shared/elb"
)

func TestTargetIsHealthyOnlyIfAWSSendsTrafficToIt(t *testing.T) {
	for name, c := range map[string]struct {
		health, verdict string
		healthy         bool
	}{
		"healthy":        {`<TargetHealth><State>healthy</State></TargetHealth>`, "healthy", true},
		"unhealthy":      {`<TargetHealth><State>unhealthy</State><Reason>Target.FailedHealthChecks</Reason></TargetHealth>`, "unhealthy: Target.FailedHealthChecks", false},
		"unused":         {`<TargetHealth><State>unused</State><Reason>Target.NotInUse</Reason></TargetHealth>`, "unused: Target.NotInUse", false},
		"no override":    {`<TargetHealth><State>healthy</State></TargetHealth><AdministrativeOverride><State>no_override</State><Reason>AdministrativeOverride.NoOverride</Reason></AdministrativeOverride>`, "healthy", true},
		"zonal shift":    {`<TargetHealth><State>healthy</State></TargetHealth><AdministrativeOverride><State>zonal_shift_active</State><Reason>AdministrativeOverride.ZonalShiftActive</Reason></AdministrativeOverride>`, "AdministrativeOverride: zonal_shift_active", false},
		"shifted by DNS": {`<TargetHealth><State>healthy</State></TargetHealth><AdministrativeOverride><State>zonal_shift_delegated_to_dns</State><Reason>AdministrativeOverride.ZonalShiftDelegatedToDns</Reason></AdministrativeOverride>`, "AdministrativeOverride: zonal_shift_delegated_to_dns", false},
	} {
		t.Run(name, func(t *testing.T) {
			member := `<Target><Id>10.0.0.1</Id><Port>7777</Port></Target>` + c.health
			answer := &answers{status: 200, body: result("DescribeTargetHealth", `<TargetHealthDescriptions><member>`+member+`</member></TargetHealthDescriptions>`)}
			targets, err := clientOver(answer).Targets(t.Context(), "arn")
			if err != nil || len(targets) != 1 {
				t.Fatalf("targets are %+v, %v", targets, err)
			}
			if got := targets[0]; got.Health() != c.verdict || got.Healthy() != c.healthy {
				t.Errorf("AWS says %q, healthy: %v", got.Health(), got.Healthy())
			}
		})
	}
	if (elb.Target{}).Healthy() {
		t.Error("a target without a state is healthy")
	}
}
