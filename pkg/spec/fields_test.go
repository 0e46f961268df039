package spec_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/spec"
)

func TestSchemaGolden(t *testing.T) {
	golden(t, "testdata/schema.json", string(spec.Schema()))
}

func TestFieldsAreDocumented(t *testing.T) {
	var properties struct {
		Properties map[string]struct{ Description string }
	}
	require.NoError(t, json.Unmarshal(spec.Schema(), &properties))
	fields := spec.Fields()
	assert.Len(t, properties.Properties, len(fields))
	for _, f := range fields {
		assert.NotEmpty(t, f.Type, f.Key)
		assert.NotEmpty(t, f.Default, f.Key)
		assert.True(t, strings.HasSuffix(f.Doc, "."), f.Key)
		assert.Contains(t, properties.Properties[f.Key].Description, f.Doc)
		// The example is a value that works.
		text := f.Key + ": " + f.Example + "\n"
		if f.Key == "secure-boot" {
			text += "firmware: efi\n"
		}
		_, err := spec.Parse("m1", "m1.yaml", []byte(text))
		assert.NoError(t, err)
	}
}
