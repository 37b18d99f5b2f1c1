// Package compile turns a Policy into the Ruleset that enforces it: classify, then act.
package compile

import (
	"ringwall/netfilter/ruleset"
	"ringwall/rules/policy"
)

// Options is what the result may use of the kernel.
type Options struct {
	LogGroup uint16 // nflog group of the rules' logs
	NoLabels bool   // the kernel has no connection labels
}

// Compile is deterministic: the same policy and options give the same rule set.
func Compile(p *policy.Policy, opt Options) (*ruleset.Ruleset, error) { panic("being written") }
