package spec

import (
	"slices"
	"strings"

	"github.com/invopop/jsonschema"
)

// Field is one key of a definition, for documentation.
type Field struct {
	// Key is the key as written. Keys of records stand behind the key they belong to:
	// volumes.NAME.size for a mapping of names, interfaces[].mac for a list.
	Key string
	// Type says what values look like, such as "size" or "auto, kvm or tcg".
	Type string
	// Default is what holds without the key, as a person would write or say it.
	Default string
	// Doc is one or more sentences.
	Doc string
	// Example is a value as written in YAML; of a mapping or a list, in JSON.
	Example string
}

// Fields are the keys in the order in which they are documented.
func Fields() []Field { return fields().documented("") }

// field is a key with everything there is to know of it, so that parser, schema
// and documentation cannot disagree.
type field struct {
	Field
	// words are what other tools call it.
	words  []string
	schema *jsonschema.Schema
	read   func(*parser, value)
	// required says that a record without the key is wrong.
	required bool
	// nested are the keys of the records that the value consists of, and under is what
	// stands between in the documentation; see named, listed and single.
	nested fieldTable
	under  string
}

// needed is the default of a key that has none.
const needed = "must be given"

type fieldTable []field

func (t fieldTable) find(key string) *field {
	for i := range t {
		if t[i].Key == key {
			return &t[i]
		}
	}
	return nil
}

func (t fieldTable) keys() []string {
	keys := make([]string, len(t))
	for i, f := range t {
		keys[i] = f.Key
	}
	return keys
}

func (t fieldTable) nearest(word string) string {
	for _, f := range t {
		if slices.Contains(f.words, strings.ToLower(word)) {
			return f.Key
		}
	}
	return Nearest(word, t.keys())
}

// documented are the keys with those of their records, each behind the other.
func (t fieldTable) documented(prefix string) []Field {
	var all []Field
	for _, f := range t {
		shown := f.Field
		shown.Key = prefix + f.Key
		if f.required {
			shown.Default = needed
		}
		all = append(all, shown)
		all = append(all, f.nested.documented(shown.Key+f.under)...)
	}
	return all
}
