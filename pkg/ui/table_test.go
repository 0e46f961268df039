package ui

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func machines() *Table {
	t := NewTable(
		Column{Title: "NAME", Keep: true}, Column{Title: "STATE", State: true}, Column{Title: "CPUS", Right: true},
		Column{Title: "MEMORY", Right: true}, Column{Title: "ADDRESS"}, Column{Title: "IMAGE"},
	)
	t.Row("example", "running", "2", "1536MiB", "192.168.122.57", "images/example")
	t.Row("a-rather-long-machine-name", "shut off", "16", "64GiB", "", "github:owner/repository/with-a-long-branch#qcow2")
	t.Row("hostile", "crashed", "1", "512MiB", "127.0.0.1:2222→22", "im\x1b[2Jage\nwith\tlines 東京", "surplus")
	t.Row("missing")
	return t
}

func TestTableGolden(t *testing.T) {
	for _, columns := range []int{20, 40, 80, 120, 200} {
		t.Run(fmt.Sprint(columns), func(t *testing.T) {
			s, out, _ := terminal(columns)
			require.NoError(t, machines().Write(s))
			golden(t, fmt.Sprintf("table-%d.txt", columns), out.String())
		})
	}
	t.Run("pipe", func(t *testing.T) {
		s, out, _ := pipes()
		require.NoError(t, machines().Write(s))
		golden(t, "table-pipe.txt", out.String())
	})
	t.Run("colour", func(t *testing.T) {
		s, out, _ := terminal(80)
		s.OutColor = true
		require.NoError(t, machines().Write(s))
		golden(t, "table-colour.txt", strings.ReplaceAll(out.String(), "\x1b", "ESC"))
	})
}

func TestTableFitsEveryTerminal(t *testing.T) {
	for columns := 2; columns < 250; columns++ {
		s, out, _ := terminal(columns)
		require.NoError(t, machines().Write(s))
		lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		assert.Len(t, lines, 5)
		for _, line := range lines {
			assert.Less(t, cells(line), columns, line)
			assert.Equal(t, strings.TrimRight(line, " "), line, "no blanks at the end")
		}
	}
}

func TestTableWithoutRows(t *testing.T) {
	s, out, _ := pipes()
	table := NewTable(Column{Title: "NAME"}, Column{Title: "STATE"})
	require.NoError(t, table.Write(s))
	assert.Zero(t, table.Len())
	assert.Equal(t, "NAME  STATE\n", out.String())
}

func TestTableGrows(t *testing.T) {
	s, out, _ := pipes()
	table := NewTable(Column{Title: "NAME"}, Column{Title: "STATE"})
	table.Row("a-long-name", "running")
	require.NoError(t, table.Write(s))
	table.Row("b", "off")
	table.Row("c-with-a-longer-name", "off")
	require.NoError(t, table.Write(s))
	assert.Equal(t, "NAME         STATE\na-long-name  running\nb                     off\nc-with-a-longer-name  off\n", out.String())
}

func TestTableTellsOfABrokenPipe(t *testing.T) {
	s := Fixed(nil, broken{}, &bytes.Buffer{}, 0)
	require.ErrorIs(t, machines().Write(s), errBroken)
	require.ErrorIs(t, JSON(s, 1), errBroken)
}

var errBroken = errors.New("broken")

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errBroken }

func TestJSON(t *testing.T) {
	s, out, _ := pipes()
	value := map[string]any{"image": "github:a/b?x=1&y=<2>", "evil": "\x1b[2J \u009b2J \u202egpj.exe"}
	require.NoError(t, JSON(s, value))
	const layout = `{
  "evil": "\u001b[2J \u009b2J \u202egpj.exe",
  "image": "github:a/b?x=1&y=<2>"
}
`
	assert.Equal(t, layout, out.String()) //nolint:testifylint // to the byte: escaping and indentation, too
	var back map[string]any
	require.NoError(t, json.Unmarshal(out.Bytes(), &back))
	assert.Equal(t, value, back, "nothing is lost by it")
	require.EqualError(t, JSON(s, func() {}), "the result cannot be written as JSON: json: unsupported type: func()")
}
