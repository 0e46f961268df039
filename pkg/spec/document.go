package spec

import (
	"github.com/goccy/go-yaml/ast"
)

const (
	documentDepth  = 32
	documentTokens = 20000
)

// CheckYAML finds what is wrong with a YAML file that is for another program: it has to
// be one mapping. What it is shows in errors as a "cloud-config", say. The error is a
// *Error with the place.
func CheckYAML(file, what string, data []byte) error {
	p := &parser{file: file, m: Defaults("none"), keys: map[string]place{}, wrong: map[string]bool{}, listed: map[string]bool{}}
	text, ok := p.text(data)
	if !ok {
		return &Error{Problems: p.problems}
	}
	if at, msg := beyond(text, documentDepth, documentTokens, what); msg != "" {
		p.add(at, "", msg, "")
		return &Error{Problems: p.problems}
	}
	parsed, err := parseYAML(text)
	if err != nil {
		p.syntax(err)
		return &Error{Problems: p.problems}
	}
	var body ast.Node
	for _, doc := range parsed.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentType || doc.Body.Type() == ast.DirectiveType {
			continue
		}
		if body != nil {
			p.add(p.place(doc.Body), "", what+" is one YAML document, and this is another", "take the --- out")
		}
		body = doc.Body
	}
	switch body.(type) {
	case nil, *ast.MappingNode, *ast.MappingValueNode:
	default:
		p.add(p.place(body), "", what+" is lines of KEY: VALUE, but this is "+kindOf(body), "")
	}
	if len(p.problems) == 0 {
		return nil
	}
	return &Error{Problems: p.problems}
}
