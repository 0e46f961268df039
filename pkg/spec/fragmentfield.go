package spec

import (
	"fmt"

	"github.com/invopop/jsonschema"
)

func xmlField() field {
	return listed(field{
		Field: Field{
			Key: "xml", Type: "list of fragments", Default: "none", Example: `[{"at": "devices", "add": "<sound model='ich9'/>"}]`,
			Doc: "Changes of the domain's XML, for what no key covers, made one after the other; libvirt checks the result against its schema, and plan shows them. " +
				"The domain's name, UUID, metadata and disks cannot be changed.",
		},
		words: []string{"extra-xml", "fragments", "raw", "libvirt", "extraxml"},
	}, record[Fragment]{
		what: "a fragment", example: `{at: devices, add: "<sound model='ich9'/>"}`,
		fields:   fragmentFields,
		together: fragmentTogether,
		rules: []*jsonschema.Schema{{OneOf: []*jsonschema.Schema{
			{Required: []string{keyAdd}}, {Required: []string{keyReplace, "at"}}, {Required: []string{keyRemove, "at"}},
		}}},
	}, maxFragments, func(p *parser, _ value, f Fragment) { p.m.XML = append(p.m.XML, f) })
}

func fragmentFields(t *Fragment) fieldTable {
	elements := func(dst *string) func(*parser, value) {
		return func(p *parser, v value) {
			if s, ok := p.text1(v, "XML", "such as <sound model='ich9'/>"); ok && len(s) > fragmentLength {
				p.add(v.at, v.path, fmt.Sprintf("this is longer than %d bytes", fragmentLength), "")
			} else if ok {
				*dst = s
			}
		}
	}
	const one = "none; one of add, replace and remove must be given"
	return fieldTable{
		{
			Field: Field{
				Key: "at", Type: "path of elements", Default: "the domain itself", Example: "devices",
				Doc: "The element that is meant, below <domain>: devices, or devices/interface[2] for the second one. What is added to and is not there is made.",
			},
			words:  []string{"path", "parent", "in", "xpath"},
			schema: text(placePattern, placeLength),
			read: func(p *parser, v value) {
				if s, ok := p.text1(v, "a path of elements", "such as devices"); ok {
					t.At = s
				}
			},
		},
		{
			Field: Field{
				Key: keyAdd, Type: "XML", Default: one, Example: "<sound model='ich9'/>",
				Doc: "One or more whole elements that come into the element, with the namespaces that they use declared.",
			},
			words:  []string{"xml", "element", "content"},
			schema: text(`<[^>]`, fragmentLength), read: elements(&t.Add),
		},
		{
			Field: Field{
				Key: keyReplace, Type: "XML", Default: one, Example: "<clock offset='localtime'/>",
				Doc: "One or more whole elements that come in place of the element.",
			},
			words:  []string{"with", "set", "change"},
			schema: text(`<[^>]`, fragmentLength), read: elements(&t.Replace),
		},
		{
			Field: Field{
				Key: keyRemove, Type: "true", Default: one, Example: "true",
				Doc: "Take the element out, with all that is in it.",
			},
			words:  []string{"delete", "drop", "without"},
			schema: &jsonschema.Schema{Const: true},
			read: func(p *parser, v value) {
				if readBool(p, v, &t.Remove); !t.Remove && !p.wrong[v.path] {
					p.add(v.at, v.path, "this can only be true", "leave it out")
				}
			},
		},
	}
}

// fragmentTogether checks that a fragment does one thing, and one that it may.
func fragmentTogether(p *parser, s scope, t *Fragment) {
	var has []string
	for _, key := range []string{keyAdd, keyReplace, keyRemove} {
		if _, ok := p.keys[s.of(key)]; ok {
			has = append(has, key)
		}
	}
	switch {
	case len(has) == 0:
		p.add(s.at, s.path, "a fragment has to do something", "give one of add, replace and remove, such as add: <sound model='ich9'/>")
		return
	case len(has) > 1:
		p.add(p.keys[s.of(has[1])], s.of(has[1]), fmt.Sprintf("a fragment does one thing, and this one has %s already", has[0]), "make two of it")
		return
	}
	if key, err := checkFragment(*t); err != nil {
		at, ok := p.keys[s.of(key)]
		if !ok {
			at = s.at
		}
		p.fail(at, s.of(key), err)
	}
}
