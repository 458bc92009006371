package main

// rules are what each needs at least one mutant of: the guarantees, the contracts
// between the parts and those of the wire.
var rules = []string{
	"bench: floor", "bench: AWS as it is", "door: priority level",
	"S1 compare and swap", "S1 claim lease first", "S1 plan first", "S1 generation",
	"S2 unbind first", "S2 target group gone", "S2 errors of deletions", "S2 janitor confirms", "S2 cooldown", "S2 same pod", "S2 license",
	"S3 ledger id", "S3 own fence", "S3 tags", "S3 names", "S3 seen ports",
	"S4 pod gone", "S4 claim expired", "S4 pod UID", "S4 consistent reads", "S4 lost leases",
	"S5 pod of the token", "S5 UID of the token", "S5 claim UID", "S5 reviews", "S5 rights of admins",
	"S6 one holder", "S6 own address", "S6 previous IP", "S6 host network", "S6 IPv4 address", "S6 late registration", "S6 deregister first",
	"L1 accounts", "L2 oldest first", "L2 abandoned plans", "L3 bound first", "L3 whole files",
	"cache: stale reads refuse nothing", "cache: missed deletions", "cache: remembered stock", "cache: every change", "clocks: own and monotonic", "clocks: changes seen", "clocks: wait after a start",
	"deletion: sightings", "deletion: higher generation", "deletion: consistent read", "deletion: its pod first", "damage: sightings", "damage: AWS lags", "dry run", "agent: drains",
	"lost: another fence only", "lost: never 401, 403, 5xx", "lost leases: adoption", "lost leases: older only",
	"collision: checked by the allocator", "collision: blocks", "one load balancer",
	"budget: compare and swap", "budget: refunds", "budget: zero after a start", "budget: a quarter for deletes", "budget: slows down", "budget: reports need standing", "budget: failures wait",
	"budget: deregister first", "budget: nothing too early", "budget: paid when made", "budget: shared describes", "budget: raised limits", "sweep: never waits for AWS", "S2 old target groups", "deletion: hostile tags", "budget: repairs", "budget: the queue", "budget: idle describes", "target health",
	"quota: exact", "claim: few calls", "waiting is cheap", "admin: cordon", "admin: block", "rights", "rights in AWS",
	"door: reviews", "door: bodies", "door: answers", "door: slots", "door: overload", "door: connections", "door: probes", "door: internals", "door: describes", "trust: kept in a Secret",
	"agent: lost withdraws", "agent: release first", "agent: withdraws",
	"agent: health", "metrics: nothing twice",
	"budget: describes", "reads: nothing is lost", "bounded ledger",
}
