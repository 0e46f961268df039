package spec

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/invopop/jsonschema"
)

const (
	sizePattern = `^\s*[0-9]+(\.[0-9]+)?\s*([TGMK]iB|[TGMKk]?B)\s*$`
	portPattern = `^(([0-9.]+|\[[0-9A-Fa-f:.]+\]):)?([1-9][0-9]{0,4}|auto):[1-9][0-9]{0,4}(/(tcp|udp))?$`
)

// Schema is the JSON schema (draft 2020-12) of a definition, for editors. It
// accepts whatever Parse accepts, and finds most of what Parse refuses.
func Schema() []byte {
	root := &jsonschema.Schema{
		Version:     jsonschema.Version,
		Title:       "vmctl machine",
		Description: "The definition of one virtual machine: domain/NAME.yaml.",
		Type:        "object",
	}
	fields().describe(root)
	// A definition says at least one thing.
	root.MinProperties = count(1)
	forwards := &jsonschema.Schema{
		If:   property("ports", &jsonschema.Schema{Type: "array", MinItems: count(1)}),
		Then: property("network", &jsonschema.Schema{Const: NetworkUser}),
	}
	forwards.If.Required = []string{"ports"}
	twice := &jsonschema.Schema{Not: &jsonschema.Schema{Required: []string{"network", "interfaces"}}}
	root.AllOf = append([]*jsonschema.Schema{when("secure-boot", true, "firmware", FirmwareEFI), forwards, twice, carrierRule()}, sourceRules()...)
	// Encoding a schema that this package made itself cannot fail.
	data, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		panic("spec: " + err.Error())
	}
	return append(data, '\n')
}

// describe makes s the schema of a mapping with these keys.
func (t fieldTable) describe(s *jsonschema.Schema) {
	s.Type, s.Properties, s.AdditionalProperties = "object", jsonschema.NewProperties(), jsonschema.FalseSchema
	for _, f := range t {
		key := *f.schema
		key.Description = f.Doc
		if f.required {
			s.Required = append(s.Required, f.Key)
		} else {
			key.Description = fmt.Sprintf("%s Default: %s.", f.Doc, f.Default)
		}
		key.Examples = []any{exampleOf(f)}
		s.Properties.Set(f.Key, &key)
	}
}

// entries is a mapping of names, each with a value like s.
func entries(s *jsonschema.Schema, most, nameLength uint64) *jsonschema.Schema {
	return &jsonschema.Schema{
		Type: "object", MaxProperties: &most, AdditionalProperties: s,
		PropertyNames: text("^[a-z0-9][a-z0-9-]*$", nameLength),
	}
}

func exampleOf(f field) any {
	var v any
	if json.Unmarshal([]byte(f.Example), &v) == nil {
		return v
	}
	return f.Example
}

// when says that a key with one value needs another key with another.
func when(key string, is any, other string, needs any) *jsonschema.Schema {
	rule := &jsonschema.Schema{If: property(key, &jsonschema.Schema{Const: is}), Then: property(other, &jsonschema.Schema{Const: needs})}
	rule.If.Required, rule.Then.Required = []string{key}, []string{other}
	return rule
}

// needs says that a key stands beside another only.
func needs(key, other string) *jsonschema.Schema {
	return &jsonschema.Schema{If: &jsonschema.Schema{Required: []string{key}}, Then: &jsonschema.Schema{Required: []string{other}}}
}

func property(key string, s *jsonschema.Schema) *jsonschema.Schema {
	p := jsonschema.NewProperties()
	p.Set(key, s)
	return &jsonschema.Schema{Properties: p}
}

func text(pattern string, most uint64) *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Pattern: pattern, MinLength: count(1), MaxLength: &most}
}

func truth() *jsonschema.Schema { return &jsonschema.Schema{Type: "boolean"} }

func number(least, most int) *jsonschema.Schema {
	return &jsonschema.Schema{
		Type: "integer", Minimum: json.Number(strconv.Itoa(least)), Maximum: json.Number(strconv.Itoa(most)),
	}
}

func oneOf[T ~string](words ...T) *jsonschema.Schema {
	s := &jsonschema.Schema{Type: "string"}
	for _, w := range words {
		s.Enum = append(s.Enum, string(w))
	}
	return s
}

func list(items *jsonschema.Schema, most uint64) *jsonschema.Schema {
	return &jsonschema.Schema{Type: "array", Items: items, MaxItems: &most, UniqueItems: true}
}

func count(n uint64) *uint64 { return &n }
