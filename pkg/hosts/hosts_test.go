package hosts

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/fault"
)

func open(t *testing.T, text string) (*File, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "vmctl", "hosts.yaml")
	if text != "" {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	f, err := Open(path)
	require.NoError(t, err)
	return f, path
}

func TestAddAndRemove(t *testing.T) {
	f, path := open(t, "# mine\nold: qemu+ssh://root@old/system # in the cellar\n")
	require.NoError(t, f.Add(Host{"new", "qemu:///system"}))
	require.NoError(t, f.Add(Host{"new", "qemu:///system"}), "it is as wanted already")
	err := f.Add(Host{"new", "qemu:///session"})
	require.EqualError(t, err, "there is a host new already: qemu:///system")
	assert.Equal(t, fault.Refused, fault.KindOf(err))

	again, err := Open(path)
	require.NoError(t, err)
	assert.Equal(t, []Host{{"old", "qemu+ssh://root@old/system"}, {"new", "qemu:///system"}}, again.All())
	uri, ok := again.URI("old")
	assert.True(t, ok)
	assert.Equal(t, "qemu+ssh://root@old/system", uri)
	require.NoError(t, again.Remove("old"))
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "# mine\nnew: qemu:///system\n", string(text))
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode())

	err = again.Remove("nwe")
	assert.Equal(t, fault.NotFound, fault.KindOf(err))
	assert.Equal(t, "did you mean new?", fault.HintOf(err))
}

func TestNoFileIsNoHosts(t *testing.T) {
	f, path := open(t, "")
	assert.Empty(t, f.All())
	require.NoError(t, f.Add(Host{"a", "qemu:///system"}))
	assert.FileExists(t, path)
}

func TestWhatIsWrongIsSaidWithItsLine(t *testing.T) {
	for text, want := range map[string]string{
		"a: qemu:///system\na: qemu:///session\n": ":2: the host a is here twice",
		"a\n":                          `:1: "a" names no URI`,
		"\n\n-a: qemu:///system\n":     `:3: "-a" cannot be the name of a host`,
		"a: qemu:///system and more\n": `:1: "qemu:///system and more" is not a URI`,
		"a: 'qemu:///system'\n":        `:1: "'qemu:///system'" is not a URI`,
	} {
		path := filepath.Join(t.TempDir(), "hosts.yaml")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		_, err := Open(path)
		require.EqualError(t, err, path+want)
		assert.Equal(t, fault.Invalid, fault.KindOf(err))
	}
}

func TestHostileNames(t *testing.T) {
	f, _ := open(t, "")
	for _, bad := range []string{"", "-o", "a/b", "a:b", "a b", "..", strings.Repeat("a", 64), "ä", "a\nb: qemu:///system"} {
		require.Error(t, f.Add(Host{bad, "qemu:///system"}), bad)
	}
	for _, bad := range []string{"", "server", "qemu:///system\nevil: x", "qemu:///system # not a part"} {
		require.Error(t, f.Add(Host{"a", bad}), bad)
	}
	assert.Empty(t, f.All())
}

func FuzzParseLine(f *testing.F) {
	f.Add("server: qemu+ssh://root@server/system # cellar")
	f.Fuzz(func(t *testing.T, line string) {
		h, ok, err := parseLine(line)
		if err != nil || !ok {
			return
		}
		require.NoError(t, CheckName(h.Name))
		again, ok, err := parseLine(h.Name + ": " + h.URI)
		require.NoError(t, err)
		assert.True(t, ok)
		assert.Equal(t, h, again)
	})
}

// FuzzOpen: what a list holds, taking out a host and putting it back keeps.
func FuzzOpen(f *testing.F) {
	f.Add([]byte("# mine\nserver: qemu+ssh://root@server/system # cellar\n\nlab: qemu:///session\n"))
	f.Add([]byte("a: b\na: b\n"))
	f.Add([]byte("\xff\x00: \x1b[2J\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "hosts.yaml")
		require.NoError(t, os.WriteFile(path, text, 0o600))
		file, err := Open(path)
		if err != nil {
			assert.NotEmpty(t, fault.HintOf(err))
			return
		}
		for _, h := range file.All() {
			require.NoError(t, CheckName(h.Name))
			require.NoError(t, file.Remove(h.Name))
		}
		again, err := Open(path)
		require.NoError(t, err)
		assert.Empty(t, again.All())
	})
}
