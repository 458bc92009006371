// Package injection tests the chart's admission policies on a real API server. A
// labeled pod gets the same agent as one written by hand, or the API server refuses
// it with the reason. The package has only tests.
package injection
