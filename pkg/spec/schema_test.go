package spec_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/spec"
)

func compiled(t testing.TB) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(spec.Schema()))
	require.NoError(t, err)
	c := jsonschema.NewCompiler()
	require.NoError(t, c.AddResource("schema.json", doc))
	s, err := c.Compile("schema.json")
	require.NoError(t, err)
	return s
}

// decoded is a definition as an editor's checker sees it.
func decoded(data []byte) (any, error) {
	var v any
	if err := yaml.Unmarshal(bytes.TrimPrefix(data, []byte("\ufeff")), &v); err != nil {
		return nil, err
	}
	asJSON, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
}

// Every definition that is shipped or used in tests is right, and the schema agrees.
func TestSchemaTakesGood(t *testing.T) {
	good, err := filepath.Glob("testdata/good/*.yaml")
	require.NoError(t, err)
	shipped, err := filepath.Glob("../../domain/*.yaml")
	require.NoError(t, err)
	schema := compiled(t)
	for _, file := range append(good, shipped...) {
		t.Run(file, func(t *testing.T) {
			data, err := os.ReadFile(file)
			require.NoError(t, err)
			_, err = spec.Parse(strings.TrimSuffix(filepath.Base(file), ".yaml"), file, data)
			require.NoError(t, err)
			v, err := decoded(data)
			require.NoError(t, err)
			assert.NoError(t, schema.Validate(v))
		})
	}
}

// What the schema cannot see is listed; all other bad definitions fail it.
func TestSchemaRefusesBad(t *testing.T) {
	unseen := []string{
		// What YAML readers take, and Parse does not.
		"documents", "directive", "escape", "nul", "latin1", "anchors",
		// Values that a pattern does not tell apart.
		"cpus-hex", "sizes-range", "sizes-multiple", "ports-clash", "host-no-verify", "host-option",
		"image-attr", "image-bidi", "source-flake", "source-password",
		"volumes-clash", "volumes-alias",
		"devices-together", "interfaces-ports", "shares-clash",
	}
	files, err := filepath.Glob("testdata/bad/*.yaml")
	require.NoError(t, err)
	schema := compiled(t)
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(file)
			require.NoError(t, err)
			v, err := decoded(data)
			if err != nil {
				return
			}
			refused := schema.Validate(v) != nil
			assert.Equal(t, !slices.Contains(unseen, name), refused)
		})
	}
}

// Whatever Parse takes, the schema takes too.
func FuzzSchema(f *testing.F) {
	addDefinitions(f)
	schema := compiled(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := spec.Parse("m1", "m1.yaml", data); err != nil {
			return
		}
		v, err := decoded(data)
		require.NoError(t, err)
		assert.NoError(t, schema.Validate(v))
	})
}
