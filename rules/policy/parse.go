package policy

import (
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"ringwall/rules/diag"
	"ringwall/rules/syntax"
)

// parseTree stands in for package syntax until that is there.
func parseTree(name string, data []byte) (*syntax.Node, diag.List) {
	var diags diag.List
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		diags.Errorf(diag.Span{Pos: diag.Pos{File: name, Line: 1, Col: 1}}, "yaml", "%v", err)
		return nil, diags
	}
	if len(doc.Content) == 0 {
		return nil, diags
	}
	return treeOf(name, doc.Content[0]), diags
}

func treeOf(name string, n *yaml.Node) *syntax.Node {
	out := &syntax.Node{At: diag.Span{Pos: diag.Pos{File: name, Line: n.Line, Col: n.Column}, Len: max(1, utf8.RuneCountInString(n.Value))}}
	switch n.Kind {
	case yaml.ScalarNode:
		out.Kind, out.Text = syntax.Scalar, n.Value
		if n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0 {
			out.Quoted, out.At.Len = true, out.At.Len+2
		} else if n.Tag == "!!null" {
			out.Kind = syntax.Null
		}
	case yaml.SequenceNode:
		out.Kind = syntax.List
		for _, c := range n.Content {
			out.Items = append(out.Items, treeOf(name, c))
		}
	case yaml.MappingNode:
		out.Kind = syntax.Map
		for i := 0; i+1 < len(n.Content); i += 2 {
			out.Pairs = append(out.Pairs, syntax.Pair{Key: treeOf(name, n.Content[i]), Value: treeOf(name, n.Content[i+1])})
		}
	}
	return out
}
