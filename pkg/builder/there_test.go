package builder

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/proc"
)

// described is what a host prints of a file with this content.
func described(content string) string {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, _ = w.Write([]byte(content[:min(len(content), headSize)] + content[max(0, len(content)-tailSize):])) // into memory
	_ = w.Close()
	return fmt.Sprintf("/nix/store/x-image/nixos.qcow2\n%d\nopen\n%s", len(content), packed.String())
}

func TestWhatAHostSaysOfAnImage(t *testing.T) {
	for name, content := range map[string]string{
		"empty": "", "small": "QFI\xfb", "large": strings.Repeat("0123456789abcdef", 100_000),
	} {
		seen, ok := parseSeen(described(content))
		require.True(t, ok, name)
		assert.Equal(t, int64(len(content)), seen.Size)
		assert.True(t, seen.Open)
		assert.Equal(t, content[:min(len(content), headSize)], string(seen.Head))
		assert.Equal(t, content[max(0, len(content)-tailSize):], string(seen.Tail))
	}
	whole := described("QFI\xfb")
	for _, said := range []string{
		"", "\n\n\n", whole[:len(whole)-9], strings.Replace(whole, "\n4\n", "\n5\n", 1), strings.Replace(whole, "\n4\n", "\n3\n", 1),
		strings.Replace(whole, "\n4\n", "\n-1\n", 1), whole[1:],
	} {
		_, ok := parseSeen(said)
		assert.False(t, ok, "%q", said)
	}
}

func TestArchitectureOfADerivation(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.drv")
	for text, want := range map[string]string{
		`Derive([("out","/nix/store/x","","")],[("/nix/store/y.drv",["out"])],["/nix/store/z"],"x86_64-linux","/bin/sh",["-c","],\"aarch64-linux\",\""],[("system","x86_64-linux")])`: "x86_64",
		`Derive([("out","/nix/store/x","","")],[],[],"powerpc64le-linux","/bin/sh",[],[])`:                                                                                            "ppc64le",
		`Derive([("out","/nix/store/x","","")],[],[],"i686-linux","/bin/sh",[],[])`:                                                                                                   "",
		"": "",
	} {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		assert.Equal(t, want, archOf(file), text)
	}
	assert.Empty(t, archOf("/nowhere"))
	assert.Empty(t, archOf(""))
}

// FuzzSeen: whatever a host says of an image is bounded, and consistent when it is taken.
func FuzzSeen(f *testing.F) {
	f.Add(described(""))
	f.Add(described("QFI\xfb"))
	f.Add(described(strings.Repeat("x", 200_000)))
	f.Fuzz(func(t *testing.T, said string) {
		seen, ok := parseSeen(said)
		if !ok {
			return
		}
		assert.Equal(t, min(seen.Size, headSize), int64(len(seen.Head)))
		assert.Equal(t, min(seen.Size, tailSize), int64(len(seen.Tail)))
	})
}

// The scripts that a host runs are sh, whatever is in their words.
func TestScriptsAreQuoted(t *testing.T) {
	at := There{Space: "system", Machine: "a'b $(touch evil)"}
	home := t.TempDir()
	run := func(script string) string {
		res, err := proc.Run(context.WithoutCancel(t.Context()), proc.Cmd{
			Path: "sh", Args: []string{"-c", script}, Dir: home, Env: []string{"HOME=" + home, "XDG_STATE_HOME="},
		})
		require.NoError(t, err)
		return string(res.Stdout)
	}
	assert.Equal(t, home+"/.local/state/vmctl/gcroots/system/a'b $(touch evil)", run("printf %s "+at.dir()))
	entries, err := os.ReadDir(home)
	require.NoError(t, err)
	assert.Empty(t, entries)
}
