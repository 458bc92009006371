// Package docs has tests that compare the pages in this folder with the code: names,
// fields, tables and examples.
package docs
