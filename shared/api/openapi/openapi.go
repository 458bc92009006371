// Package openapi is the OpenAPI 3.1 document of the allocator's HTTP API,
// written by hand. The allocator serves it, and every answer that the tests see
// is held against it.
package openapi

import _ "embed"

// Document is the document as JSON. Nobody may change it.
//
//go:embed openapi.json
var Document []byte
