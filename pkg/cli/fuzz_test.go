package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/spec"
)

func FuzzParseEnd(f *testing.F) {
	for _, seed := range []string{"example:/tmp/", "./a:b", "-oProxyCommand=x:y", "a b:c", ":x", "example:-rf", "example:\x00", "../x:y"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, word string) {
		e, err := parseEnd(word)
		if err != nil {
			return
		}
		if e.machine == "" {
			assert.Equal(t, word, e.path)
			return
		}
		require.NoError(t, spec.CheckName(e.machine))
		assert.Equal(t, word, e.machine+":"+e.path)
		assert.False(t, strings.ContainsAny(e.path, "\x00\n"))
	})
}

func FuzzParseForward(f *testing.F) {
	for _, seed := range []string{"8080:80", "auto:80", "[::1]:1:2", "127.0.0.1:8080:80", "-R:1:2", "1:2/udp", "0.0.0.0:1:2 -oProxyCommand=x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, word string) {
		forward, err := parseForward(word)
		if err != nil {
			return
		}
		assert.NotZero(t, forward.Guest)
		assert.Empty(t, strings.Trim(forward.listen(), "0123456789abcdef.:[]"), "%q", forward.listen())
	})
}

// FuzzChangeLines: a person's ~/.ssh/config is as it was after a line came and went.
func FuzzChangeLines(f *testing.F) {
	f.Add([]byte("Host a\n    User b\n"))
	f.Add([]byte("no line end"))
	f.Add([]byte("\r\n\x00\xff\n\n\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		const include = `Include "/x/*"`
		path := filepath.Join(t.TempDir(), "config")
		require.NoError(t, os.WriteFile(path, text, 0o640))
		if slices.Contains(strings.Split(string(text), "\n"), include) {
			return
		}
		changed, err := changeLines(path, func(lines []string) []string { return append([]string{include}, lines...) })
		require.NoError(t, err)
		assert.True(t, changed)
		changed, err = changeLines(path, func(lines []string) []string {
			return slices.DeleteFunc(lines, func(l string) bool { return l == include })
		})
		require.NoError(t, err)
		assert.True(t, changed)
		after, err := os.ReadFile(path)
		require.NoError(t, err)
		assert.Equal(t, strings.TrimSuffix(string(text), "\n"), strings.TrimSuffix(string(after), "\n"))
		info, err := os.Stat(path)
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o640), info.Mode().Perm())
	})
}
