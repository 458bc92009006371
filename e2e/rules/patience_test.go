package rules_test

import (
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/portlease/portlease/allocator/budget"
)

// wait is how long AWS's rates keep the last of pods that start together, each with
// so many ports; its calls for one port cost so much.
func wait(pods, ports int, cost budget.Tokens) time.Duration {
	limits := budget.Default()
	longest := 0.0
	for _, one := range []struct {
		calls  float64
		bucket budget.Bucket
	}{{cost.Mutating, limits.Mutating}, {cost.Registration, limits.Registration}, {cost.Describe, limits.Describe}, {cost.All, limits.All}} {
		longest = max(longest, (float64(pods*ports)*one.calls-one.bucket.Burst)/one.bucket.PerSecond)
	}
	return time.Duration(longest * float64(time.Second))
}

// withAttributes is what a port costs whose pool sets targetGroupAttributes.
func withAttributes() budget.Tokens {
	cost, more := budget.CreateCost, budget.AttributesCost
	return budget.Tokens{Mutating: cost.Mutating + more.Mutating, Registration: cost.Registration + more.Registration, Describe: cost.Describe + more.Describe, All: cost.All + more.All}
}

func patience(p *corev1.Probe) time.Duration {
	return time.Duration(p.InitialDelaySeconds+p.PeriodSeconds*p.FailureThreshold) * time.Second
}

// probesArePatient holds the startup probe to outlast a thousand pods with two
// ports each, the dearest there are.
func (e *example) probesArePatient() {
	if longest := wait(1000, 2, withAttributes()); patience(e.agent.StartupProbe) < longest {
		e.Errorf("the startup probe waits %v, a fleet's start takes %v", patience(e.agent.StartupProbe), longest)
	}
}

// deadlineIsLater holds a Deployment not to give up before its pods do.
func (e *example) deadlineIsLater(d appsv1.Deployment) {
	agents := d.Spec.Template.Spec.InitContainers
	if len(agents) == 0 {
		return // its pods get the agent of the others
	}
	if s := d.Spec.ProgressDeadlineSeconds; s == nil || time.Duration(*s)*time.Second <= patience(agents[0].StartupProbe) {
		e.Errorf("progressDeadlineSeconds is %v, the startup probe waits %v", s, patience(agents[0].StartupProbe))
	}
}
