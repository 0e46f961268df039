package image

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/spec"
)

// TestReadAhead: what was read ahead is not read again, unless it has changed.
func TestReadAhead(t *testing.T) {
	t.Parallel()
	file, heard := filepath.Join(t.TempDir(), "disk.qcow2"), &events{}
	require.NoError(t, os.WriteFile(file, sound(), 0o600))
	opts := Options{Progress: heard, Task: "web/image"}
	opts.Ahead = ReadAhead(t.Context(), file, opts)
	obtain := func() string {
		img, err := Obtain(t.Context(), spec.Image{Kind: spec.ImageFile, Ref: "disk.qcow2"}, file, opts)
		require.NoError(t, err)
		return img.SHA256
	}
	assert.Equal(t, hexOf(sound()), obtain())
	assert.Equal(t, hexOf(sound()), obtain())
	assert.Equal(t, []string{"read image " + file}, heard.done(), "once")

	changed := append(sound(), make([]byte, 512)...)
	require.NoError(t, os.WriteFile(file, changed, 0o600))
	assert.Equal(t, hexOf(changed), obtain())

	require.NoError(t, os.WriteFile(file, nil, 0o600))
	heard.done()
	opts.Ahead = ReadAhead(t.Context(), file, opts)
	_, err := Obtain(t.Context(), spec.Image{Kind: spec.ImageFile, Ref: "disk.qcow2"}, file, opts)
	require.ErrorContains(t, err, "is empty")
	assert.Empty(t, heard.done(), "what is wrong with it is said once")
}
