package spec

import (
	"fmt"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// scope is one mapping with keys of its own: the definition, or a record in it.
type scope struct {
	// path is empty for the definition, else such as volumes.data or interfaces[0].
	path string
	// what it is in a reader's words, with an article, such as "a volume".
	what string
	// at is where it is named, for what is missing from it.
	at place
}

// of is the path of a key.
func (s scope) of(key string) string {
	if s.path == "" {
		return key
	}
	return s.path + "." + key
}

// mapping reads each key of a mapping by its table.
func (p *parser) mapping(pairs []*ast.MappingValueNode, table fieldTable, s scope) {
	for _, pair := range pairs {
		at := p.place(pair.Key)
		key, ok := scalarText(pair.Key)
		if !ok {
			p.add(at, s.path, fmt.Sprintf("a key is a word, but this is %s", kindOf(pair.Key)), "")
			continue
		}
		f := table.find(key)
		if f == nil {
			p.unknown(at, key, table, s)
			continue
		}
		if p.twice(at, s.of(key)) {
			continue
		}
		v := value{node: pair.Value, path: s.of(key), at: p.place(pair.Value)}
		if p.usable(&v, at) {
			f.read(p, v)
		}
	}
	for _, f := range table {
		if _, ok := p.keys[s.of(f.Key)]; f.required && !ok {
			p.add(s.at, s.path, fmt.Sprintf("%s needs the key %s", s.what, f.Key), fmt.Sprintf("such as %s: %s", f.Key, f.Example))
		}
	}
}

// twice notes where a key stands, and a problem if it was there before.
func (p *parser) twice(at place, path string) bool {
	first, again := p.keys[path]
	if again {
		p.add(at, path, fmt.Sprintf("the key is here twice; the first is in line %d", first.line), "keep one of them")
		return true
	}
	p.keys[path] = at
	return false
}

func (p *parser) unknown(at place, key string, table fieldTable, s scope) {
	hint := ""
	if !p.listed[s.what] {
		hint = "the keys are " + strings.Join(table.keys(), ", ")
	}
	if near := table.nearest(key); near != "" {
		hint = fmt.Sprintf("did you mean %s?", near)
	} else {
		p.listed[s.what] = true
	}
	p.add(at, s.path, fmt.Sprintf("%s is not a key of %s", quote(key), s.what), hint)
}

// pairs are the lines of a mapping; a problem is noted when the value is none.
func (p *parser) pairs(v value, want, hint string) ([]*ast.MappingValueNode, bool) {
	switch node := v.node.(type) {
	case *ast.MappingNode:
		return node.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{node}, true
	}
	p.mismatch(v, want, hint)
	return nil, false
}

// entries calls each with the usable entries of a list. things is what they are in the
// plural; a problem is noted when the value is no list or has more than most.
func (p *parser) entries(v value, most int, things, hint string, each func(entry value)) {
	list, ok := v.node.(*ast.SequenceNode)
	if !ok {
		p.mismatch(v, "a list", hint)
		return
	}
	if len(list.Values) > most {
		p.add(v.at, v.path, fmt.Sprintf("these are %d %s: the most is %d", len(list.Values), things, most), "")
		return
	}
	for i, node := range list.Values {
		entry := value{node: node, path: fmt.Sprintf("%s[%d]", v.path, i), at: v.at}
		if node != nil {
			entry.at = p.place(node)
		}
		dash := entry.at
		if i < len(list.Entries) && list.Entries[i].Start != nil {
			start := list.Entries[i].Start.Position
			dash = place{start.Line, start.Column, 1}
		}
		if p.usable(&entry, dash) {
			each(entry)
		}
	}
}
