package cli

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
)

// TestDocumentedJSONIsWhatIsPrinted holds each command's JSON example to the type that
// it prints: no key too many, none forgotten.
func TestDocumentedJSONIsWhatIsPrinted(t *testing.T) {
	printed := map[string]any{
		"up": machines[upResult]{}, "down": machines[downResult]{}, "stop": machines[stopResult]{},
		"start": machines[startResult]{}, "restart": machines[startResult]{}, "plan": machines[engine.Plan]{},
		"apply": machines[applyResult]{}, "rollback": machines[rollbackResult]{},
		"list": machines[listed]{}, "info": infoResult{}, "view": viewResult{}, "build": buildResult{}, "validate": validateResult{},
		"ip": ipResult{}, "volume list": volumesResult{}, "doctor": doctorResult{}, "version": versionResult{},
		"exec": execResult{}, "cp": cpResult{}, "forward": forwardResult{},

		"host list": hostsResult[listedHost]{}, "host check": hostsResult[checkedHost]{},
		"init": initResult{}, "outdated": machines[outdatedResult]{}, "image list": imagesResult{}, "image inspect": inspectResult{}, "image prune": pruneResult{},
		"migrate": migrateResult{}, "secret list": secretsResult{}, "secret push": pushResult{}, "key": keyResult{},
	}
	for _, v := range withVerbs(commands()) {
		t.Run(v.path(), func(t *testing.T) {
			shape, ok := printed[v.path()]
			require.Equal(t, v.json != "", ok, "a command that prints JSON has an example of it")
			if !ok {
				return
			}
			var example any
			require.NoError(t, json.Unmarshal([]byte(v.json), &example))
			keys := map[string]bool{}
			keysOf("", reflect.TypeOf(shape), keys)
			seen := map[string]bool{}
			keysIn("", example, seen)
			for key := range seen {
				assert.True(t, keys[key], "%s is not printed", key)
			}
			for _, key := range slices.Sorted(maps.Keys(keys)) {
				if v.name == "start" || v.name == "restart" {
					if strings.Contains(key, "ssh") || strings.Contains(key, "ports.") {
						continue // as in up
					}
				}
				assert.True(t, seen[key], "%s is not in the example", key)
			}
		})
	}
}

// keysOf collects the paths of a type's JSON keys.
func keysOf(path string, of reflect.Type, keys map[string]bool) {
	for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice {
		of = of.Elem()
	}
	if of.Kind() != reflect.Struct {
		return
	}
	for field := range of.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case field.Anonymous && name == "":
			keysOf(path, field.Type, keys)
		case field.IsExported():
			keys[path+name] = true
			keysOf(path+name+".", field.Type, keys)
		}
	}
}

// keysIn collects the paths of a document's keys.
func keysIn(path string, document any, keys map[string]bool) {
	switch d := document.(type) {
	case map[string]any:
		for name, value := range d {
			keys[path+name] = true
			keysIn(path+name+".", value, keys)
		}
	case []any:
		for _, value := range d {
			keysIn(path, value, keys)
		}
	}
}
