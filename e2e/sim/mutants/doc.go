// Mutants puts deliberate bugs into portlease, one at a time, and shows which test
// or which seed of the simulation notices each. A test that no bug makes fail
// proves nothing by passing.
//
// Each bug is a small file in patches/, which is no Go source: none can get into a
// release. The program applies it to a copy of the file that it changes, lays that
// copy over the tree for one build (go help build, -overlay), and runs the test that
// the patch names. The working tree is never changed. A bug counts as caught only if
// that test passes without it and fails with it, in time and in the words that the
// patch expects; one that does not compile, or that makes the test hang, does not.
//
// A patch is a header and a unified diff of one file, which git apply takes:
//
//	rule: S2 cooldown
//	about: what is wrong, in a few words
//	test: ./e2e/sim ^TestSim$ -seeds=100
//	expect: seed \d+: S2:
//
//	--- a/allocator/claim/plan.go
//	+++ b/allocator/claim/plan.go
//	@@ -120,3 +120,3 @@
//	 	...
//	-	...
//	+	...
//
// To write one, introduce the bug, run git diff -U1, and put the header before it. Each
// hunk must fit the file at exactly one place, whatever its line number: a test of this
// package fails as soon as the code has moved on. The rule is one of rules.go. The test
// is a package, a pattern for go test's -run and flags of the test. A line that the
// failing test prints has to match expect; of a simulation the first such seed is enough.
//
// One test that notices is named, not every one that would. Where a guarantee of the whole
// system breaks, that is the simulation, even if a unit test would be cheaper.
package main
