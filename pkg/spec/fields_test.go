package spec_test

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/spec"
)

func TestSchemaGolden(t *testing.T) {
	golden(t, "testdata/schema.json", string(spec.Schema()))
}

// Every key is in the schema, with its documentation and an example that works.
func TestFieldsAreDocumented(t *testing.T) {
	var root schemaNode
	require.NoError(t, json.Unmarshal(spec.Schema(), &root))
	fields := spec.Fields()
	assert.Len(t, fields, root.count())
	examples := map[string]any{}
	for _, f := range fields {
		assert.NotEmpty(t, f.Type, f.Key)
		assert.NotEmpty(t, f.Default, f.Key)
		assert.True(t, strings.HasSuffix(f.Doc, "."), f.Key)
		property := root.find(f.Key)
		require.NotNil(t, property, f.Key)
		assert.Contains(t, property.Description, f.Doc)
		examples[f.Key] = exampleOf(f.Example)
		data, err := json.Marshal(definitionWith(f.Key, examples))
		require.NoError(t, err)
		_, err = spec.Parse("m1", "m1.yaml", data)
		assert.NoError(t, err, string(data))
	}
}

// definitionWith is the smallest definition that has the key with its example: a record
// is its parent's example with the key changed, and what an example needs is there.
func definitionWith(key string, examples map[string]any) map[string]any {
	beside := map[string]map[string]any{
		"secure-boot":         {"firmware": "efi"},
		"sha256":              {"image": "disk.qcow2"},
		"checksums":           {"image": "https://example.org/disk.qcow2"},
		"volumes.NAME.path":   {"size": nil},
		"cpu.topology.cores":  {"threads": 2},
		"interfaces[].bridge": {"network": nil, "address": nil}, "interfaces[].macvtap": {"network": nil, "address": nil},
		"xml[].replace": {"add": nil, "at": "clock"}, "xml[].remove": {"add": nil, "at": "clock"},
		"interfaces[].user":   {"network": nil, "address": nil},
		"volumes.NAME.volume": {"size": nil}, "volumes.NAME.disk-format": {"size": nil, "volume": "a/b"},
		"secrets.NAME.env": {"file": nil}, "secrets.NAME.command": {"file": nil},
		"secrets.NAME.sops": {"file": nil}, "secrets.NAME.age": {"file": nil},
		"volumes.NAME.read-only": {"size": nil, "volume": "a/b"},
	}
	with := func(record map[string]any, last string) map[string]any {
		changed := maps.Clone(record)
		changed[last] = examples[key]
		for k, v := range beside[key] {
			if changed[k] = v; v == nil {
				delete(changed, k)
			}
		}
		return changed
	}
	if parent, last, ok := strings.Cut(key, ".NAME."); ok {
		for name, record := range examples[parent].(map[string]any) {
			return map[string]any{parent: map[string]any{name: with(record.(map[string]any), last)}}
		}
	}
	if parent, last, ok := strings.Cut(key, "[]."); ok {
		return map[string]any{parent: []any{with(examples[parent].([]any)[0].(map[string]any), last)}}
	}
	if i := strings.LastIndexByte(key, '.'); i >= 0 {
		record, _ := examples[key[:i]].(map[string]any)
		outer, inner, nested := strings.Cut(key[:i], ".")
		if nested {
			return map[string]any{outer: map[string]any{inner: with(record, key[i+1:])}}
		}
		return map[string]any{outer: with(record, key[i+1:])}
	}
	return with(map[string]any{}, key)
}

func exampleOf(text string) any {
	var v any
	if json.Unmarshal([]byte(text), &v) == nil {
		return v
	}
	return text
}

// schemaNode is what of the schema is looked at here.
type schemaNode struct {
	Description string
	Properties  map[string]*schemaNode
	// Entries is the schema of what is named; on others it is false.
	Entries json.RawMessage `json:"additionalProperties"`
	Items   *schemaNode
	AnyOf   []*schemaNode
}

// record is where the keys of an entry, or of the value itself, are.
func (s *schemaNode) record() *schemaNode {
	entry := &schemaNode{}
	switch {
	case json.Unmarshal(s.Entries, entry) == nil && (entry.Properties != nil || entry.AnyOf != nil):
		return entry.record()
	case s.Items != nil:
		return s.Items.record()
	}
	for _, one := range s.AnyOf {
		if one.Properties != nil {
			return one
		}
	}
	return s
}

func (s *schemaNode) find(key string) *schemaNode {
	key = strings.ReplaceAll(strings.ReplaceAll(key, ".NAME", ""), "[]", "")
	for word := range strings.SplitSeq(key, ".") {
		if s = s.record().Properties[word]; s == nil {
			return nil
		}
	}
	return s
}

func (s *schemaNode) count() int {
	n := 0
	for _, property := range s.record().Properties {
		n += 1 + property.count()
	}
	return n
}
