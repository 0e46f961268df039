package spec

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/invopop/jsonschema"
)

// record is a kind of mapping with keys of its own, read into a T. A field whose value
// consists of records is made by named, listed or single: parser, schema and
// documentation all follow from it.
type record[T any] struct {
	// what it is in a reader's words, with an article, such as "a volume"; example is one as
	// written, for hints.
	what, example string
	// fields are its keys, read into the T.
	fields func(*T) fieldTable
	// fresh is a T with its defaults; name is the key of a named one, else empty.
	fresh func(name string) T
	// check, when set, says why a good name cannot be one of these.
	check func(name string) error
	// name, when set, is the rule for names, in place of the one for machines.
	name func(name string) error
	// short, when set, reads a value that is one word or line; shortSchema is its schema.
	short       func(p *parser, v value, t *T)
	shortSchema *jsonschema.Schema
	// together, when set, checks what depends on more than one key; it is not asked
	// about a record in which something is wrong by itself.
	together func(p *parser, s scope, t *T)
	// rules say in the schema what together checks, as far as a schema can.
	rules []*jsonschema.Schema
}

// read reads one record; at is where it is named. It is not ok after a problem.
func (r record[T]) read(p *parser, v value, name string, at place) (t T, ok bool) {
	if r.fresh != nil {
		t = r.fresh(name)
	}
	before := len(p.problems)
	if _, plain := scalarText(v.node); plain && r.short != nil {
		r.short(p, v, &t)
		return t, len(p.problems) == before
	}
	pairs, ok := p.pairs(v, r.what+"'s keys", "write "+r.example)
	if !ok {
		return t, false
	}
	s := scope{path: v.path, what: r.what, at: at}
	p.mapping(pairs, r.fields(&t), s)
	if r.together != nil && len(p.problems) == before {
		r.together(p, s, &t)
	}
	return t, len(p.problems) == before
}

func (r record[T]) schema() *jsonschema.Schema {
	s := &jsonschema.Schema{}
	r.fields(new(T)).describe(s)
	s.AllOf = r.rules
	if r.short != nil {
		return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{r.shortSchema, s}}
	}
	return s
}

// named makes f a mapping NAME: record with at most so many entries. nameLength is how
// many characters a name may have. Good entries come to keep sorted by name, so that
// their order in the file means nothing.
func named[T any](f field, r record[T], most, nameLength int, keep func(p *parser, t T)) field {
	f.under, f.nested, f.schema = ".NAME.", r.fields(new(T)), entries(r.schema(), uint64(most), uint64(nameLength))
	f.read = func(p *parser, v value) {
		pairs, ok := p.pairs(v, "a mapping of names", fmt.Sprintf("write each on a line of its own: %s", r.example))
		if !ok {
			return
		}
		if len(pairs) > most {
			p.add(v.at, v.path, fmt.Sprintf("these are %d entries: the most is %d", len(pairs), most), "")
			return
		}
		type entry struct {
			name string
			t    T
		}
		var good []entry
		for _, pair := range pairs {
			if name, t, ok := readEntry(p, v, r, nameLength, pair); ok {
				good = append(good, entry{name, t})
			}
		}
		slices.SortFunc(good, func(a, b entry) int { return cmp.Compare(a.name, b.name) })
		for _, e := range good {
			keep(p, e.t)
		}
	}
	return f
}

func readEntry[T any](p *parser, v value, r record[T], nameLength int, pair *ast.MappingValueNode) (string, T, bool) {
	var none T
	at := p.place(pair.Key)
	name, ok := scalarText(pair.Key)
	if !ok {
		p.add(at, v.path, fmt.Sprintf("a name is a word, but this is %s", kindOf(pair.Key)), "")
		return "", none, false
	}
	rule := r.name
	if rule == nil {
		rule = func(name string) error { return checkName(r.what, name, nameLength) }
	}
	err := rule(name)
	if err == nil && r.check != nil {
		err = r.check(name)
	}
	if err != nil {
		p.fail(at, v.path, err)
		return "", none, false
	}
	entry := value{node: pair.Value, path: entryPath(v.path, name), at: p.place(pair.Value)}
	if p.twice(at, entry.path) || !p.usable(&entry, at) {
		return "", none, false
	}
	t, ok := r.read(p, entry, name, at)
	return name, t, ok
}

// entryPath is the path of a named record. A name with a dot in it is quoted: else it
// would look like a key of another one.
func entryPath(path, name string) string {
	if strings.Contains(name, ".") {
		return fmt.Sprintf("%s[%q]", path, name)
	}
	return path + "." + name
}

// listed makes f a list of records, with at most so many. Good ones come to keep in the
// order of the file.
func listed[T any](f field, r record[T], most int, keep func(p *parser, entry value, t T)) field {
	f.under, f.nested, f.schema = "[].", r.fields(new(T)), list(r.schema(), uint64(most))
	f.schema.UniqueItems = false
	f.read = func(p *parser, v value) {
		p.entries(v, most, "entries", "write each behind a - of its own: - "+r.example, func(entry value) {
			if t, ok := r.read(p, entry, "", entry.at); ok {
				keep(p, entry, t)
			}
		})
	}
	return f
}

// single makes f one record.
func single[T any](f field, r record[T], keep func(p *parser, t T)) field {
	f.under, f.nested, f.schema = ".", r.fields(new(T)), r.schema()
	f.read = func(p *parser, v value) {
		if t, ok := r.read(p, v, "", p.keys[v.path]); ok {
			keep(p, t)
		}
	}
	return f
}

// texts makes f a list of text, with at most so many; each is called with every entry.
func texts(f field, pattern string, length uint64, most int, each func(p *parser, entry value, s string)) field {
	f.schema = list(text(pattern, length), uint64(most))
	f.schema.UniqueItems = false
	f.read = func(p *parser, v value) {
		p.entries(v, most, "entries", "write each behind a - of its own", func(entry value) {
			if s, ok := p.text1(entry, "text", ""); ok {
				each(p, entry, s)
			}
		})
	}
	return f
}
