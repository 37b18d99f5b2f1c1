// Package syntax turns YAML text into a tree with a position on every value.
//
// It is the only package that imports the YAML library, and the only one that knows its traps: what
// leaves Parse without a diagnostic means what it says. Values are their source text; YAML's types play no part.
//
// Be aware: the value of an alias is the very Node of its anchor, with the place of the anchor. Trees are not to be
// changed.
package syntax

import "ringwall/rules/diag"

// Kind is the kind of a Node.
type Kind uint8

// The kinds of node. Null is a key or item without a value.
const (
	Null Kind = iota
	Scalar
	List
	Map
)

func (k Kind) String() string { return [...]string{"nothing", "a value", "a list", "a mapping"}[k] }

// Node is one value of a document.
type Node struct {
	Kind   Kind
	Quoted bool // of a scalar: it stood in quotes or was a block scalar
	// At is of a scalar its token, quotes included (the first line of it, or the `|` of a block); of a list or mapping
	// its first token; of Null the key or the dash that lacks a value.
	At    diag.Span
	Text  string  // of a scalar
	Items []*Node // of a list
	Pairs []Pair  // of a mapping, in order
}

// Pair is one key of a mapping with its value.
type Pair struct {
	Key   *Node // a Scalar
	Value *Node
}

// Get returns the value of a key, nil where n is no mapping or lacks it.
func (n *Node) Get(key string) *Node {
	if n == nil {
		return nil
	}
	for _, p := range n.Pairs {
		if p.Key.Text == key {
			return p.Value
		}
	}
	return nil
}
