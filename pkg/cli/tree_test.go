package cli

import (
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"encoding/json"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/spec"
)

func TestEveryCommandIsWhole(t *testing.T) {
	seen := map[string]bool{}
	for _, v := range withVerbs(commands()) {
		t.Run(v.path(), func(t *testing.T) {
			assert.False(t, seen[v.path()], "two commands of one name")
			seen[v.path()] = true
			assert.NoError(t, spec.CheckName(v.name), "a verb is a plain word")
			assert.Equal(t, len(v.verbs) == 0, v.run != nil, "a verb does something, a noun has verbs")
			assert.True(t, len(v.verbs) == 0 || len(v.options) == 0, "a noun has no flags")
			assert.Equal(t, v.takes == ownWords, v.args != nil, "words of its own are described")
			assert.Contains(t, groups(), v.group)
			require.NotEmpty(t, v.summary)
			first, _ := utf8.DecodeRuneInString(v.summary)
			assert.True(t, unicode.IsUpper(first), "summary begins with a capital: %s", v.summary)
			assert.False(t, strings.HasSuffix(v.summary, "."), "summary ends without a full stop")
			assert.LessOrEqual(t, len(v.summary), 64, "summary fits its column")
			for _, text := range v.about {
				assert.True(t, strings.HasSuffix(text, ".") || strings.Contains(text, "json"), "a paragraph ends with a full stop: %s", text)
			}
			for _, e := range v.examples {
				assert.Contains(t, e.line, "vmctl ")
			}
			if v.json != "" {
				assert.True(t, json.Valid([]byte(v.json)), "the JSON example is JSON")
			}
			flags(v.options) // a preset that cannot be read would become a zero
			// A verb that has no JSON to print may give -o a meaning of its own.
			others := slices.DeleteFunc(globals(), func(o option) bool { return o.short == "o" && v.json == "" })
			checkOptions(t, append(v.options, others...))
		})
	}
}

func checkOptions(t *testing.T, options []option) {
	t.Helper()
	seen := map[string]bool{}
	for _, o := range options {
		for _, name := range []string{o.name, o.short} {
			assert.False(t, name != "" && seen[name], "two flags called %s", name)
			seen[name] = true
		}
		assert.LessOrEqual(t, len(o.short), 1)
		assert.Greater(t, len(o.name), 1)
		require.NotEmpty(t, o.help, o.name)
		first, _ := utf8.DecodeRuneInString(o.help)
		assert.False(t, unicode.IsUpper(first), "help of --%s begins small", o.name)
		assert.False(t, strings.HasSuffix(o.help, "."), "help of --%s ends without a full stop", o.name)
		assert.Equal(t, o.kind == isSwitch, o.value == "", "--%s: a value has a name", o.name)
		assert.Equal(t, strings.ToUpper(o.value), o.value, "--%s: the value's name is in capitals", o.name)
		if o.preset != "" {
			assert.NoError(t, o.check("preset", o.preset), "--%s", o.name)
		}
	}
}

func TestHelpFitsEveryTerminal(t *testing.T) {
	pages := map[string]string{"vmctl": help(commands(), helpWidth)}
	for _, v := range withVerbs(commands()) {
		pages[v.path()] = helpOf(v, helpWidth)
		for line := range strings.Lines(help(commands(), 40) + helpOf(v, 40)) {
			if words := strings.Fields(line); strings.HasPrefix(line, "  vmctl ") || len(words) > 0 && words[0] == "usage:" {
				continue // a command line is whole, to be copied
			}
			assert.LessOrEqual(t, utf8.RuneCountInString(strings.TrimRight(line, "\n")), 40, "%s: %s", v.name, line)
		}
	}
	for name, page := range pages {
		for line := range strings.Lines(page) {
			assert.LessOrEqual(t, utf8.RuneCountInString(strings.TrimRight(line, "\n")), helpWidth, "%s: %s", name, line)
			assert.Equal(t, strings.TrimRight(line, " \n"), strings.TrimRight(line, "\n"), "%s: a line ends in blanks", name)
		}
	}
	for _, v := range commands() {
		assert.Equal(t, !v.hidden, strings.Contains(pages["vmctl"], "\n  "+v.name+" "), v.name)
	}
}

func TestExamplesAreCommandLines(t *testing.T) {
	for _, v := range withVerbs(commands()) {
		for _, e := range v.examples {
			_, after, _ := strings.Cut(e.line, "vmctl ")
			after, _, _ = strings.Cut(after, ")")
			after, _, _ = strings.Cut(after, "|")
			after, _, _ = strings.Cut(after, ">")
			l, err := read(commands(), strings.Fields(after), noEnv)
			require.NoError(t, err, e.line)
			require.NotNil(t, l.verb, e.line)
			if len(v.verbs) == 0 {
				assert.Equal(t, v.path(), l.verb.path(), e.line)
			} else {
				assert.Equal(t, v.name, l.verb.noun.name, e.line)
			}
		}
	}
}
