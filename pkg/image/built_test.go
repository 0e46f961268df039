package image

import (
	"compress/gzip"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/spec"
)

// TestFromBuild: what nix built is taken as it lies in the store, or unpacked beside it.
func TestFromBuild(t *testing.T) {
	out := filepath.Join(t.TempDir(), "store", "15zd2s8x0c3v6r9ibcdf1ghjk2lmnpqr-image")
	require.NoError(t, os.MkdirAll(out, 0o755))
	disk := make([]byte, 1<<20)
	disk[510], disk[511] = 0x55, 0xaa // a partition table
	disk[446+4], disk[446+8], disk[446+12] = 0x83, 1, 100
	require.NoError(t, os.WriteFile(filepath.Join(out, "nixos.img"), disk, 0o444))
	packed, err := os.Create(filepath.Join(out, "nixos.raw.gz"))
	require.NoError(t, err)
	w := gzip.NewWriter(packed)
	_, err = w.Write(disk)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.NoError(t, packed.Close())

	cache := t.TempDir()
	opts := Options{Source: "images/web#web", Cache: cache}
	plain, err := FromBuild(t.Context(), filepath.Join(out, "nixos.img"), out, true, opts)
	require.NoError(t, err)
	assert.Equal(t, Raw, plain.Format)
	assert.True(t, plain.InPlace)
	assert.Equal(t, filepath.Join(out, "nixos.img"), plain.Path)

	for range 2 {
		unpacked, err := FromBuild(t.Context(), filepath.Join(out, "nixos.raw.gz"), out, true, opts)
		require.NoError(t, err)
		assert.Equal(t, spec.Size(1<<20), unpacked.Size)
		assert.Equal(t, "images/web#web", unpacked.Source)
		assert.Regexp(t, "^sha256-", unpacked.ID)
		content, err := os.ReadFile(unpacked.Path)
		require.NoError(t, err)
		assert.Equal(t, disk, content)
	}
	_, err = FromBuild(t.Context(), filepath.Join(out, "gone"), out, true, opts)
	require.ErrorContains(t, err, "there is no image")
}
