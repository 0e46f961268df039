package push

import (
	"bytes"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
)

// BenchmarkRebuilt pushes an image of which 2 % are new, and everything else at another place.
func BenchmarkRebuilt(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 2))
	old := noise(random, 256<<20)
	image := append(noise(random, 4<<20), old[:252<<20]...)
	dir := b.TempDir()
	b.Setenv("XDG_CACHE_HOME", b.TempDir())
	lies(b, dir, "base-sha256-old.me-1.raw", old)
	file := fileOf(b, image)
	r := &Remote{SSH: []string{"env"}, Host: "server", Log: slog.New(slog.DiscardHandler)}
	b.SetBytes(int64(len(image)))
	for b.Loop() {
		require.NoError(b, os.WriteFile(filepath.Join(dir, volume), nil, 0o600))
		way := r.Prepare(b.Context(), dir)
		require.NoError(b, way.Push(b.Context(), engine.Push{Volume: volume, Image: file, Size: int64(len(image))}))
		way.End()
	}
	got, err := os.ReadFile(filepath.Join(dir, volume))
	require.NoError(b, err)
	require.True(b, bytes.Equal(got, image))
}
