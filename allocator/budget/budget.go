// Package budget shares the account's token buckets among all who call AWS.
package budget

// State is what all replicas know of the buckets, as of its last write.
type State struct{}
