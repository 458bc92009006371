// Package admission tests the chart's ValidatingAdmissionPolicies about games on a real
// API server: whom they confine, and whom they leave alone. The package has only tests.
package admission
