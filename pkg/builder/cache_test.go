package builder

import (
	"crypto/sha256"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// counter is a flake whose image holds what a file of it holds.
func counter() map[string]string {
	value := strings.Replace(drv("image", "mkdir $out; cp $src $out/disk.img"), "name =", `src = ./value; name =`, 1)
	return map[string]string{"flake.nix": flakeOf(map[string]string{"test": value}), "value": "1"}
}

// again builds and tells whether a nix process was needed.
func (l *lab) again() (content string, started bool) {
	l.t.Helper()
	before := l.runs()
	res, err := l.build(l.ref())
	require.NoError(l.t, err)
	assert.Equal(l.t, l.runs() == before, res.Cached)
	text, err := os.ReadFile(res.Path)
	require.NoError(l.t, err)
	return string(text), !res.Cached
}

func TestSecondBuildStartsNoNix(t *testing.T) {
	for name, git := range map[string]bool{"repository": true, "directory": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, counter())
			if git {
				l.git("init")
			}
			content, started := l.again()
			assert.Equal(t, "1", content)
			assert.True(t, started)
			_, started = l.again()
			assert.False(t, started)

			l.write(flakeDir+"/value", "22")
			content, started = l.again()
			assert.Equal(t, "22", content)
			assert.True(t, started)
			_, started = l.again()
			assert.False(t, started)

			// The same size and the same modification time.
			path := filepath.Join(l.flake, "value")
			info, err := os.Stat(path)
			require.NoError(t, err)
			l.write(flakeDir+"/value", "33")
			require.NoError(t, os.Chtimes(path, info.ModTime(), info.ModTime()))
			content, started = l.again()
			assert.Equal(t, "33", content)
			assert.True(t, started)

			// A file that nix sees or not.
			l.write(flakeDir+"/new", "")
			_, started = l.again()
			assert.Equal(t, !git, started)
		})
	}
}

func TestRepositoryAsAWholeDecides(t *testing.T) {
	l := newLab(t, counter())
	l.write("elsewhere/file", "a")
	l.git("init")
	// Nor does the repository decide what is run here.
	ran := filepath.Join(l.project, ".git", "ran")
	l.write(".git/monitor", "#!/bin/sh\ntouch "+ran+"\n")
	require.NoError(t, os.Chmod(filepath.Join(l.project, ".git", "monitor"), 0o755))
	l.git("config", "core.fsmonitor", ".git/monitor")
	t.Setenv("GIT_CONFIG_COUNT", "1")
	t.Setenv("GIT_CONFIG_KEY_0", "user.name")
	t.Setenv("GIT_CONFIG_VALUE_0", "t")
	l.again()
	require.NoFileExists(t, ran)
	l.git("config", "--unset", "core.fsmonitor")
	l.write("elsewhere/file", "b")
	_, started := l.again()
	assert.True(t, started, "nix copies the whole repository")
	_, started = l.again()
	assert.False(t, started)
	l.git("-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-qm", "one")
	_, started = l.again()
	assert.True(t, started, "a flake can read the commit")
}

func TestCacheDoubts(t *testing.T) {
	for name, spoil := range map[string]func(l *lab){
		"corrupt entry": func(l *lab) {
			files, err := filepath.Glob(filepath.Join(l.cacheDir, "builds", "*.json"))
			require.NoError(l.t, err)
			require.Len(l.t, files, 1)
			require.NoError(l.t, os.WriteFile(files[0], []byte(`{"Version":1,`), 0o600))
		},
		"settings changed": func(l *lab) {
			conf := filepath.Join(filepath.Dir(l.calls), "nix", "conf", "nix.conf")
			text, err := os.ReadFile(conf)
			require.NoError(l.t, err)
			require.NoError(l.t, os.WriteFile(conf, append(text, "cores = 1\n"...), 0o644))
		},
		"environment changed": func(l *lab) { l.Builder.env = append(l.Builder.env, "NIX_PATH=x=/y") },
		"nix changed": func(l *lab) {
			nix := filepath.Join(filepath.Dir(l.calls), "bin", "nix")
			text, err := os.ReadFile(nix)
			require.NoError(l.t, err)
			require.NoError(l.t, os.WriteFile(nix, append(text, '\n'), 0o755))
		},
		"attribute filter":   func(l *lab) { l.write(".gitattributes", "* filter=lfs\n"); l.git("add", ".gitattributes") },
		"image collected":    func(l *lab) { l.nix("nix-store", "--gc") },
		"another repository": func(l *lab) { l.Builder.env = append(l.Builder.env, "GIT_DIR="+filepath.Join(l.project, ".git")) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, counter())
			l.git("init")
			l.again()
			_, started := l.again()
			require.False(t, started)
			spoil(l)
			_, started = l.again()
			assert.True(t, started)
		})
	}
}

func TestUnlockedInputsAreAskedEachTime(t *testing.T) {
	l := newLab(t, nil)
	l.write("other/flake.nix", `{ outputs = { self }: { value = "1"; }; }`)
	l.write(flakeDir+"/flake.nix", `{ inputs.other.url = "path:`+filepath.Join(l.project, "other")+`"; outputs = { self, other }: {
		nixosConfigurations.test.config.system.build.qcow2 = `+drv("image", "mkdir $out; printf %s $v > $out/disk.img", "v = other.value;")+`; }; }`)
	l.git("init")
	content, _ := l.again()
	assert.Equal(t, "1", content)
	l.write("other/flake.nix", `{ outputs = { self }: { value = "2"; }; }`)
	content, started := l.again()
	assert.Equal(t, "2", content)
	assert.True(t, started)
	_, started = l.again()
	assert.True(t, started)
	assert.NoFileExists(t, filepath.Join(l.flake, "flake.lock"))
}

func TestRefreshAsksNix(t *testing.T) {
	l := newLab(t, counter())
	l.again()
	res, err := l.Build(t.Context(), l.ref(), "", true)
	require.NoError(t, err)
	assert.False(t, res.Cached)
}

func TestLinkedFlake(t *testing.T) {
	l := newLab(t, counter())
	l.git("init")
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(l.project, link))
	ref := l.ref()
	ref.Flake = filepath.Join(link, flakeDir)
	_, err := l.build(ref)
	require.NoError(t, err)
	_, started := l.again()
	assert.False(t, started, "a link is the same flake")
}

func TestOldFilesAreNotRead(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	young := &scan{hash: sha256.New(), began: time.Now(), racy: map[string]string{}, sure: true}
	young.file(file)
	assert.Len(t, young.racy, 1)
	old := &scan{hash: sha256.New(), began: time.Now().Add(time.Hour), racy: map[string]string{}, sure: true}
	old.file(file)
	assert.Empty(t, old.racy)
	assert.Equal(t, young.hash.Sum(nil), old.hash.Sum(nil), "age is no part of the fingerprint")
}

func TestRacyContentDecides(t *testing.T) {
	dir := t.TempDir()
	image, file := filepath.Join(dir, "image"), filepath.Join(dir, "f")
	require.NoError(t, os.WriteFile(image, nil, 0o600))
	require.NoError(t, os.WriteFile(file, []byte("a"), 0o600))
	sum, err := hashFile(file)
	require.NoError(t, err)
	entry := cacheEntry{file: filepath.Join(dir, "cache", "e.json")}
	f := fingerprint{sure: true, sum: "s", racy: map[string]string{file: sum}}
	entry.store(f, f, Result{Path: image, OutPath: dir}, 0)
	_, ok := entry.lookup(f)
	require.True(t, ok)
	// As if the file system had given the change the same time stamp.
	require.NoError(t, os.WriteFile(file, []byte("b"), 0o600))
	_, ok = entry.lookup(f)
	assert.False(t, ok)
	require.NoError(t, os.Remove(entry.file))
	entry.store(f, f, Result{Path: image, OutPath: dir}, 0)
	assert.NoFileExists(t, entry.file, "it changed while nix was running")
}

func TestLocked(t *testing.T) {
	node := func(locked string) string {
		return `{"nodes":{"n":{"locked":` + locked + `},"root":{"inputs":{"n":"n"}}},"root":"root","version":7}`
	}
	for name, test := range map[string]struct {
		lock string
		want bool
	}{
		"no inputs":     {`{"nodes":{"root":{}},"root":"root","version":7}`, true},
		"github":        {node(`{"type":"github","owner":"o","repo":"r","rev":"x","narHash":"sha256-x"}`), true},
		"tarball":       {node(`{"type":"tarball","url":"https://example.org/x.tar.gz","narHash":"sha256-x"}`), true},
		"path":          {node(`{"type":"path","path":"/x","narHash":"sha256-x"}`), false},
		"local git":     {node(`{"type":"git","url":"file:///x","rev":"x","narHash":"sha256-x"}`), false},
		"relative url":  {node(`{"type":"git","url":"../x","rev":"x","narHash":"sha256-x"}`), false},
		"no hash":       {node(`{"type":"github","owner":"o","repo":"r","rev":"x"}`), false},
		"registry":      {node(`{"type":"indirect","id":"nixpkgs","narHash":"sha256-x"}`), false},
		"never locked":  {node(`null`), false},
		"not a lock":    {`[]`, false},
		"nothing in it": {`{}`, false},
	} {
		assert.Equal(t, test.want, locked([]byte(test.lock)), name)
	}
}

func TestLockedURL(t *testing.T) {
	rev := strings.Repeat("0a", 20)
	for url, want := range map[string]bool{
		"github:owner/repo/" + rev:                      true,
		"github:owner/repo/" + rev + "?dir=x":           true,
		"git+https://example.org/r?rev=" + rev:          true,
		"git+https://example.org/r?ref=main&rev=" + rev: true,
		"github:owner/repo":                             false,
		"github:owner/repo/main":                        false,
		"git+file:///x?rev=" + rev:                      false,
		"nixpkgs/" + rev:                                false,
	} {
		assert.Equal(t, want, lockedURL().MatchString(url), url)
	}
}
