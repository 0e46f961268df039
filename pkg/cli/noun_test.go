package cli

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	urfave "github.com/urfave/cli/v2"

	"vmctl/pkg/fault"
	"vmctl/pkg/ui"
)

// withTree is the real commands and a noun with three verbs.
func withTree(ran *[]string) []*command {
	run := func(_ context.Context, c *call, in *urfave.Context) error {
		*ran = append([]string{c.line.verb.path()}, c.line.args...)
		if in.Bool("dry-run") {
			*ran = append(*ran, "dry-run")
		}
		return nil
	}
	return adopt(append(commands(), &command{
		name: "tree", group: other, summary: "Care for trees", about: []string{"A tree is a tree."},
		verbs: []*command{
			{name: "list", run: run, summary: "List trees"},
			{
				name: "fell", run: run, takes: ownWords, summary: "Fell trees",
				options: []option{{name: "dry-run", help: "only say which"}},
				args: &arguments{
					usage: "TREE...", one: "a tree", least: 1, most: 3, hint: "vmctl tree list shows them",
					check: func(word string) error {
						if strings.ContainsAny(word, "/") {
							return usagef("%q is no tree", word)
						}
						return nil
					},
					complete: func(*call, []string) []string { return []string{"ash", "oak", "yew"} },
				},
			},
			{name: "water", run: run, takes: oneMachine, summary: "Water one"},
		},
	}))
}

func TestNounsAreRead(t *testing.T) {
	for name, tt := range map[string]struct {
		args          []string
		verb          string
		global, local []string
		rest          []string
		help          bool
	}{
		"noun and verb":        {args: []string{"tree", "list"}, verb: "tree list"},
		"flags between":        {args: []string{"tree", "-o", "json", "list"}, verb: "tree list", global: []string{"--output=json"}},
		"flags in front":       {args: []string{"-q", "tree", "fell", "oak"}, verb: "tree fell", global: []string{"--quiet=true"}, rest: []string{"oak"}},
		"flags behind":         {args: []string{"tree", "fell", "oak", "--dry-run", "yew"}, verb: "tree fell", local: []string{"--dry-run=true"}, rest: []string{"oak", "yew"}},
		"end of flags":         {args: []string{"--", "tree", "fell", "--dry-run"}, verb: "tree fell", rest: []string{"--dry-run"}},
		"argument like a verb": {args: []string{"tree", "fell", "list"}, verb: "tree fell", rest: []string{"list"}},
		"help of the noun":     {args: []string{"tree", "--help"}, verb: "tree", help: true},
		"help of the verb":     {args: []string{"tree", "fell", "-h"}, verb: "tree fell", help: true},
		"help between":         {args: []string{"tree", "-h", "fell"}, verb: "tree fell", help: true},
	} {
		t.Run(name, func(t *testing.T) {
			var ran []string
			l, err := read(withTree(&ran), tt.args, noEnv)
			require.NoError(t, err)
			assert.Equal(t, tt.verb, l.verb.path())
			assert.Equal(t, tt.global, l.global)
			assert.Equal(t, tt.local, l.local)
			assert.Equal(t, tt.rest, l.args)
			assert.Equal(t, tt.help, l.help)
			if !tt.help {
				again, err := read(withTree(&ran), l.argv()[1:], noEnv)
				require.NoError(t, err)
				assert.Equal(t, l.argv(), again.argv())
			}
		})
	}
}

func TestWrongNounsNameTheRightOne(t *testing.T) {
	for name, tt := range map[string]struct {
		args      []string
		msg, hint string
	}{
		"noun alone":               {[]string{"tree"}, "tree needs one of list, fell, water", "vmctl help tree explains them"},
		"noun and a flag":          {[]string{"tree", "-q"}, "tree needs one of list, fell, water", "vmctl help tree explains them"},
		"unknown noun":             {[]string{"treee", "list"}, `there is no command "treee"`, "did you mean vmctl tree?"},
		"unknown verb":             {[]string{"tree", "lsit"}, `tree has no command "lsit"`, "did you mean vmctl tree list?"},
		"another word for it":      {[]string{"tree", "ls"}, `tree has no command "ls"`, "did you mean vmctl tree list?"},
		"unlike any verb":          {[]string{"tree", "frobnicate"}, `tree has no command "frobnicate"`, "it has list, fell, water"},
		"verb of a noun alone":     {[]string{"fell"}, `there is no command "fell"`, "did you mean vmctl tree fell?"},
		"unknown flag":             {[]string{"tree", "fell", "--dryrun"}, "tree fell has no flag --dryrun", "did you mean --dry-run?"},
		"flag of another verb":     {[]string{"tree", "list", "--dry-run"}, "tree list has no flag --dry-run", "vmctl tree list --help lists the flags"},
		"flag in front of a verb":  {[]string{"tree", "--dry-run", "fell"}, "the flag --dry-run stands before the command it belongs to", "write it behind the command, as in vmctl tree fell --dry-run"},
		"unknown flag of the noun": {[]string{"tree", "--outptu"}, "tree has no flag --outptu", "did you mean --output?"},
	} {
		t.Run(name, func(t *testing.T) {
			var ran []string
			_, err := read(withTree(&ran), tt.args, noEnv)
			require.Error(t, err)
			assert.Equal(t, tt.msg, err.Error())
			assert.Equal(t, tt.hint, fault.HintOf(err))
			assert.Equal(t, exitUsage, codeOf(err))
		})
	}
}

func TestVerbsOfNounsRun(t *testing.T) {
	for name, tt := range map[string]struct {
		args []string
		ran  []string
		err  string
	}{
		"without arguments": {args: []string{"tree", "list"}, ran: []string{"tree list"}},
		"with a flag":       {args: []string{"tree", "fell", "oak", "--dry-run"}, ran: []string{"tree fell", "oak", "dry-run"}},
		"a machine":         {args: []string{"tree", "water", "web"}, ran: []string{"tree water", "web"}},
		"too few":           {args: []string{"tree", "fell"}, err: "tree fell needs a tree"},
		"too many":          {args: []string{"tree", "fell", "a", "b", "c", "d"}, err: `tree fell does not take "d"`},
		"refused":           {args: []string{"tree", "fell", "a/b"}, err: `"a/b" is no tree`},
		"no machine":        {args: []string{"tree", "water"}, err: "tree water needs the name of a machine"},
		"no argument":       {args: []string{"tree", "list", "x"}, err: `tree list does not take "x"`},
	} {
		t.Run(name, func(t *testing.T) {
			var ran []string
			l, err := read(withTree(&ran), tt.args, noEnv)
			require.NoError(t, err)
			c := testCall(t, l)
			err = c.carryOut(t.Context())
			if tt.err != "" {
				require.EqualError(t, err, tt.err)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, tt.ran, ran)
		})
	}
}

func TestNounsAreCompleted(t *testing.T) {
	for words, want := range map[string][]string{
		"tr":                  {"tree"},
		"tree ":               {"list", "fell", "water"},
		"tree f":              {"fell"},
		"tree -q f":           {"fell"},
		"tree fell ":          {"ash", "oak", "yew"},
		"tree fell oak ":      {"ash", "yew"},
		"tree fell a b c ":    nil,
		"tree fell --dr":      {"--dry-run"},
		"tree list --dr":      nil,
		"tree fell -o ":       {"table", "json"},
		"tree list ":          nil,
		"help tr":             {"tree"},
		"help tree ":          {"list", "fell", "water"},
		"help tree fell ":     nil,
		"help up ":            nil,
		"tree fell --progr":   {"--progress"},
		"tree --progress=pla": {"--progress=plain"},
	} {
		t.Run(words, func(t *testing.T) {
			var ran []string
			c := testCall(t, &line{})
			assert.Equal(t, want, complete(withTree(&ran), strings.Split(words, " "), c))
		})
	}
}

func TestNounsHaveHelp(t *testing.T) {
	var ran []string
	all := withTree(&ran)
	noun, err := about(all, []string{"tree"})
	require.NoError(t, err)
	assert.Equal(t, `Care for trees

usage: vmctl tree COMMAND [flags]

A tree is a tree.

Commands
  list        List trees
  fell        Fell trees
  water       Water one

vmctl help tree COMMAND explains one of them. vmctl help lists the flags of
every command.
`, helpOf(noun, helpWidth))
	verb, err := about(all, []string{"tree", "fell"})
	require.NoError(t, err)
	assert.Contains(t, helpOf(verb, helpWidth), "\nusage: vmctl tree fell TREE... [flags]\n")
	for _, tt := range []struct {
		words     []string
		msg, hint string
	}{
		{[]string{"tree", "fel"}, `tree has no command "fel"`, "did you mean vmctl help tree fell?"},
		{[]string{"up", "down"}, `help does not take "down"`, "leave it out"},
		{[]string{"complete"}, `there is no command "complete"`, "vmctl help lists the commands"},
		{[]string{"fell"}, `there is no command "fell"`, "did you mean vmctl help tree fell?"},
	} {
		_, err := about(all, tt.words)
		require.EqualError(t, err, tt.msg)
		assert.Equal(t, tt.hint, fault.HintOf(err))
	}
}

// testCall is a call on a terminal that nobody sees, in an empty directory.
func testCall(t *testing.T, l *line) *call {
	t.Helper()
	dir := t.TempDir()
	streams := ui.Fixed(strings.NewReader(""), io.Discard, io.Discard, 80)
	return newCall(&Deps{Streams: streams, Getwd: func() (string, error) { return dir, nil }}, l)
}
