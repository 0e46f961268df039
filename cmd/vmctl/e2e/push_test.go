//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/testenv"
)

// disk writes a machine's image into a project: noise of its own, and behind it what all
// images have, at another place in each.
func (pr *project) disk(t *testing.T, machine string, fresh int) []byte {
	t.Helper()
	image := make([]byte, 72<<20)
	_, _ = rand.NewChaCha8([32]byte([]byte(fmt.Sprintf("%-32s", machine)))).Read(image[:fresh]) // never fails
	_, _ = rand.NewChaCha8([32]byte{}).Read(image[fresh+4<<20:])
	copy(image[510:], []byte{0x55, 0xaa}) // a disk has a partition table
	require.NoError(t, os.WriteFile(filepath.Join(pr.dir, machine+".raw"), image, 0o644))
	pr.machine(t, machine, "image: ./"+machine+".raw", "memory: 32MiB", "accel: tcg", "network: none")
	return image
}

// TestPush brings images to a host that is reached by ssh: what it has is not sent, what was
// cut goes on, and where the way is none, the image goes through libvirt.
func TestPush(t *testing.T) {
	p := root(t)
	server := testenv.SSH(t)
	server.Trust(t)
	wire, uri := server.Through(t, testenv.Shape{})
	pr := p.project(t)
	cache := filepath.Join(p.home, ".cache/vmctl/host")
	t.Cleanup(func() { _ = os.RemoveAll(cache) })

	// up brings a machine up, and gives what it said and what went over the wire.
	up := func(machine string, image []byte) (said string, sent int64) {
		t.Helper()
		before := wire.Up.Load()
		said = pr.ok(t, "-c", uri, "-v", "up", "--no-wait", machine).err
		sent = wire.Up.Load() - before
		// What is said has the beginning of the digest that is in the name.
		base := regexp.MustCompile(`create volume (base-sha256-\w+)(\.\S+\.raw)\.ok:`).FindStringSubmatch(said)
		require.Len(t, base, 3, said)
		files, err := filepath.Glob(filepath.Join(p.pool, base[1]+"*"+base[2]))
		require.NoError(t, err)
		require.Len(t, files, 1)
		got, err := os.ReadFile(files[0])
		require.NoError(t, err)
		assert.True(t, bytes.Equal(image, got), "the volume is the image")
		return said, sent
	}
	said, _ := up("first", pr.disk(t, "first", 1<<20))
	assert.Contains(t, said, "pushed by content")
	programs, err := os.ReadDir(cache)
	require.NoError(t, err)
	require.Len(t, programs, 1)

	said, sent := up("second", pr.disk(t, "second", 2<<20))
	assert.Contains(t, said, "pushed by content")
	assert.Less(t, sent, int64(4<<20), "of 72 MiB two are new")

	image := pr.disk(t, "third", 50<<20)
	wire.After(30<<20, wire.Close)
	pr.refused(t, 6, []string{"-c", uri, "up", "--no-wait", "third"}, "was lost", "have arrived", "hint: run the same command again: it goes on from there")
	_, sent = up("third", image)
	assert.Less(t, sent, int64(35<<20), "what had arrived is not sent again")

	require.NoError(t, os.RemoveAll(cache))
	require.NoError(t, os.WriteFile(cache, nil, 0o600))
	said, _ = up("fourth", pr.disk(t, "fourth", 3<<20))
	assert.Contains(t, said, "the image goes through libvirt")
	assert.Contains(t, said, "cannot be made there")
	pr.ok(t, "-c", uri, "down", "--force", "first", "second", "third", "fourth")
	left, err := filepath.Glob(filepath.Join(p.pool, "base-*"))
	require.NoError(t, err)
	assert.Empty(t, left)
}
