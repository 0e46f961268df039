package spec

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
)

// value is what stands after a key, or one entry of its list.
type value struct {
	node ast.Node
	path string
	at   place
}

// key is the last key of the path, as written before the value.
func (v value) key() string { return v.path[strings.LastIndexByte(v.path, '.')+1:] }

// place finds where a node begins. The library's token of a mapping is the colon
// of its first pair, so its first key is taken.
func (p *parser) place(node ast.Node) place {
	switch n := node.(type) {
	case *ast.MappingNode:
		if len(n.Values) > 0 && !n.IsFlowStyle {
			return p.place(n.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return p.place(n.Key)
	}
	tk := node.GetToken()
	if tk == nil || tk.Position == nil {
		return place{1, 1, 1}
	}
	origin, _, _ := strings.Cut(strings.TrimSpace(tk.Origin), "\n")
	return place{tk.Position.Line, tk.Position.Column, utf8.RuneCountInString(strings.TrimSpace(origin))}
}

// usable reports whether there is a plain value at all: not nothing, and no YAML
// machinery (anchors, aliases, tags), which a definition has no use for.
func (p *parser) usable(v *value, key place) bool {
	switch v.node.(type) {
	case nil, *ast.NullNode:
		at := v.at
		if v.node == nil || !p.holds(at, "~") && !p.holds(at, "null") && !p.holds(at, "Null") && !p.holds(at, "NULL") {
			at = key
		}
		p.noValue(at, v.path)
		return false
	case *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode:
		p.add(v.at, v.path, "anchors and aliases are not used in a machine definition", "write the value itself")
		return false
	case *ast.TagNode:
		p.add(v.at, v.path, "tags are not used in a machine definition", "write the value alone")
		return false
	}
	if s, ok := scalarText(v.node); ok && strings.TrimSpace(s) == "" {
		p.noValue(v.at, v.path)
		return false
	}
	return true
}

func (p *parser) noValue(at place, path string) {
	p.add(at, path, "there is no value", "write one, or delete the line to take the default")
}

// holds reports whether the file has the word at the place. The library invents a
// null where nothing is written.
func (p *parser) holds(at place, word string) bool {
	if at.line < 1 || at.line > len(p.lines) {
		return false
	}
	runes := []rune(p.lines[at.line-1])
	return at.column >= 1 && at.column <= len(runes) && strings.HasPrefix(string(runes[at.column-1:]), word)
}

// scalarText is the text of a value that is one word or line, whatever YAML would
// make of it.
func scalarText(node ast.Node) (string, bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode, *ast.NullNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// kindOf says what a value is, in a reader's words.
func kindOf(node ast.Node) string {
	switch node.(type) {
	case nil, *ast.NullNode:
		return "nothing"
	case *ast.StringNode, *ast.LiteralNode:
		return "text"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	case *ast.BoolNode:
		return "true or false"
	case *ast.SequenceNode:
		return "a list"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode:
		return "an anchor or alias"
	case *ast.TagNode:
		return "a tag"
	default:
		return "something else"
	}
}

// mismatch notes that a value is of the wrong kind.
func (p *parser) mismatch(v value, want, hint string) {
	p.add(v.at, v.path, fmt.Sprintf("this should be %s, but is %s", want, kindOf(v.node)), hint)
}
