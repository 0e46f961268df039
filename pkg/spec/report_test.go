package spec_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

func TestProblemString(t *testing.T) {
	cases := map[string]struct {
		problem spec.Problem
		want    string
	}{
		"whole file":    {spec.Problem{File: "f", Msg: "m"}, "f: m"},
		"no source":     {spec.Problem{File: "f", Line: 1, Column: 1, Msg: "m"}, "f:1:1: m"},
		"path and hint": {spec.Problem{File: "f", Line: 1, Column: 1, Path: "cpus", Msg: "m", Hint: "h"}, "f:1:1: cpus: m\n      hint: h"},
		"caret": {
			spec.Problem{File: "f", Line: 12, Column: 4, Msg: "m", Source: "a: bcd", Width: 2},
			"f:12:4: m\n   12 | a: bcd\n      |    ^^",
		},
		"behind the end": {spec.Problem{File: "f", Line: 1, Column: 3, Msg: "m", Source: "a:", Width: 1}, "f:1:3: m\n    1 | a:\n      |   ^"},
		"tabs":           {spec.Problem{File: "f", Line: 1, Column: 4, Msg: "m", Source: "a:\tb", Width: 1}, "f:1:4: m\n    1 | a:  b\n      |     ^"},
		"wide":           {spec.Problem{File: "f", Line: 1, Column: 3, Msg: "m", Source: "日本 語", Width: 2}, "f:1:3: m\n    1 | 日本 語\n      |     ^^^"},
		"combining":      {spec.Problem{File: "f", Line: 1, Column: 4, Msg: "m", Source: "e\u0301: x", Width: 1}, "f:1:4: m\n    1 | e\u0301: x\n      |   ^"},
		"control": {
			spec.Problem{File: "\x1b]0;x\af", Line: 1, Column: 2, Path: "\u202ep", Msg: "m\n", Hint: "\u009b\x9b", Source: "\x1bx\u2066", Width: 1},
			"\\x1b]0;x\\x07f:1:2: \\u202ep: m\\x0a\n    1 | \\x1bx\\u2066\n      |     ^\n      hint: \\x9b\ufffd",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) { assert.Equal(t, c.want, c.problem.String()) })
	}
}

func TestProblemJSON(t *testing.T) {
	_, err := spec.Parse("m1", "m1.yaml", []byte("memory: 1\n"))
	got, jsonErr := json.Marshal(err)
	require.NoError(t, jsonErr)
	assert.JSONEq(t, `{"problems": [{"file": "m1.yaml", "line": 1, "column": 9, "width": 1, "path": "memory",
		"message": "\"1\" has no unit", "hint": "write it as 1MiB or 1GiB", "source": "memory: 1"}]}`, string(got))
}

func TestJoin(t *testing.T) {
	_, b := spec.Parse("b", "b.yaml", []byte("cpus: 0\n"))
	_, a := spec.Parse("a", "a.yaml", []byte("cpus: 0\ncpus: 0\n"))
	require.NoError(t, spec.Join())
	require.NoError(t, spec.Join(nil, nil))

	joined := spec.Join(b, nil, a)
	var report *spec.Error
	require.ErrorAs(t, joined, &report)
	require.Len(t, report.Problems, 3)
	assert.True(t, strings.HasPrefix(joined.Error(), "a.yaml:1:7: "))

	other := errors.New("other")
	mixed := spec.Join(b, other)
	require.ErrorIs(t, mixed, other)
	require.ErrorAs(t, mixed, &report)
	assert.Equal(t, fault.Invalid, fault.KindOf(mixed))
	assert.EqualError(t, spec.Join(other), "other")
}
