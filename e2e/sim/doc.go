// Package sim runs the whole of portlease on a simulated clock and a seeded
// scheduler, so that what needs luck to go wrong in a cluster goes wrong here
// within seconds, and again with the same seed.
//
// Real are the packages that decide: claim, janitor, inventory and the HTTP API
// of the allocator, the client and the lifecycle of the agent, shared/elb with
// the AWS SDK, and the emulator's own core. Only here, and nowhere else in the
// project, stand-ins in memory are allowed: for the Leases, the pods and the
// network. That the Leases' stand-in behaves like the API server is proven by
// one table of cases that both have to pass.
//
// Every remote call parks. The scheduler lets one go after the other, each after a
// time that comes from the seed and the call's name alone, and decides what becomes
// of it: it passes, it is never applied, it is applied and the answer lost, it is
// cut and applied later, or it is throttled. Whoever called may be paused or killed meanwhile. After
// every step the safety guarantees are checked, and at the end the liveness
// guarantees.
//
// A simulation runs in a bubble of testing/synctest: all its time is fake.
package sim
