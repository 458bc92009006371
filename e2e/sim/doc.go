// Package sim runs all of portlease on a simulated clock and a seeded scheduler.
// Rare orders of events happen here within seconds, and again with the same seed.
//
// The packages that decide are real: claim, janitor, inventory and the HTTP API of
// the allocator, the client and the lifecycle of the agent, shared/elb with the AWS
// SDK, and the core of the emulator. The Leases (e2e/ledgermem), the pods and the
// network are in memory.
//
// Every remote call parks. The scheduler releases one call after another, each after
// a time that depends only on the seed and the call's name. It decides the outcome:
// the call passes, is never applied, is applied and its answer lost, is cut and
// applied later, or is throttled. The caller may be paused or killed meanwhile.
// After every step the simulation checks the safety guarantees, and at the end the
// liveness guarantees.
//
// A simulation runs in a bubble of testing/synctest: all its time is fake.
package sim
