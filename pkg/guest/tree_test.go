package guest

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func archive(t *testing.T, headers ...tar.Header) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		content := []byte("evil")
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(content))
		}
		h.Mode = 0o644
		require.NoError(t, w.WriteHeader(&h))
		if h.Typeflag == tar.TypeReg {
			_, err := w.Write(content)
			require.NoError(t, err)
		}
	}
	require.NoError(t, w.Close())
	return &b
}

// A guest that is asked for a directory writes nothing outside of it.
func TestHostileArchives(t *testing.T) {
	for name, headers := range map[string][]tar.Header{
		"up":             {{Name: "../evil", Typeflag: tar.TypeReg}},
		"absolute":       {{Name: "/../../evil", Typeflag: tar.TypeReg}},
		"through a link": {{Name: "d", Typeflag: tar.TypeSymlink, Linkname: ".."}, {Name: "d/evil", Typeflag: tar.TypeReg}},
		"hard link":      {{Name: "h", Typeflag: tar.TypeLink, Linkname: "../secret"}},
		"over a link":    {{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "../secret"}, {Name: "l", Typeflag: tar.TypeReg}},
		"directory up":   {{Name: "../evil/", Typeflag: tar.TypeDir}},
		"bottomless":     {{Name: strings.Repeat("d/", 1<<18) + "f", Typeflag: tar.TypeReg}},
	} {
		t.Run(name, func(t *testing.T) {
			up := t.TempDir()
			dir := filepath.Join(up, "in")
			require.NoError(t, os.Mkdir(dir, 0o755))
			secret := filepath.Join(up, "secret")
			require.NoError(t, os.WriteFile(secret, []byte("mine"), 0o600))
			require.Error(t, unpack(archive(t, headers...), dir, nil))
			assert.NoDirExists(t, filepath.Join(dir, "d", "d"))
			assert.NoFileExists(t, filepath.Join(up, "evil"))
			assert.NoDirExists(t, filepath.Join(up, "evil"))
			content, err := os.ReadFile(secret)
			require.NoError(t, err)
			assert.Equal(t, "mine", string(content))
			if _, err := os.Stat(filepath.Join(dir, "h")); err == nil {
				assert.Fail(t, "a link to what is outside")
			}
		})
	}
}

func TestDevicesAreLeftOut(t *testing.T) {
	dir := t.TempDir()
	var skipped []string
	require.NoError(t, unpack(archive(t,
		tar.Header{Name: "./null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3},
		tar.Header{Name: "./f", Typeflag: tar.TypeReg}), dir, func(p string) { skipped = append(skipped, p) }))
	assert.Equal(t, []string{"null"}, skipped)
	assert.FileExists(t, filepath.Join(dir, "f"))
}

func FuzzUnpack(f *testing.F) {
	f.Add([]byte("x"))
	f.Fuzz(func(t *testing.T, p []byte) {
		up := t.TempDir()
		require.NoError(t, os.Mkdir(filepath.Join(up, "in"), 0o755))
		_ = unpack(bytes.NewReader(p), filepath.Join(up, "in"), nil)
		left, err := os.ReadDir(up)
		require.NoError(t, err)
		assert.Len(t, left, 1)
	})
}
