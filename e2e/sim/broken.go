package sim

import (
	"math/rand/v2"
	"net/http"
	"strings"

	"github.com/portlease/portlease/e2e/elbemu"
)

// denied is a call that AWS denies: the agent's role lacks the right.
const denied fault = "denied"

// breakDeployment makes AWS deny all that the agents of one or two pod names want to
// change, whichever pods have those names, until the deployment is repaired.
func (w *World) breakDeployment(r *rand.Rand) {
	first := r.IntN(podNames)
	w.faults.denied = map[string]bool{podName(first): true, podName((first + r.IntN(2)) % podNames): true}
}

// repairDeployment gives the agents their rights back.
func (w *World) repairDeployment() {
	w.trace.add("-- the broken deployment is repaired")
	w.faults.denied = nil
}

// denies reports whether AWS denies a call.
func (f *faults) denies(c *call) bool {
	name, _, agent := strings.Cut(c.process.name, "/")
	return agent && c.kind == kindAWSWrite && f.denied[name]
}

func denial() elbemu.Fault {
	return elbemu.Refuse(http.StatusForbidden, "AccessDenied", "User is not authorized to perform this action")
}
