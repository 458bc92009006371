// Package pages holds what the pages in docs say against the code: names, fields
// and examples. It has tests only.
package docs
