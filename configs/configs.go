// Package configs holds what policies are written from: example policies, each a test of the project, and the schema
// of their language.
package configs

import _ "embed"

// Schema is the policy language as JSON Schema, draft 7.
//
//go:embed schema.json
var Schema string
