// Package openapi is the OpenAPI 3.1 document of the allocator's HTTP API, written by hand.
// The allocator serves it, and the tests check every answer against it.
package openapi

import _ "embed"

// Document is the document as JSON. It must not be modified.
//
//go:embed openapi.json
var Document []byte
