//go:build bench

package bench

import (
	"crypto/rand"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"github.com/stretchr/testify/require"
)

// large compares an up with nothing to do of a flake among 5,000 files with one of the
// flake alone.
func (h *host) large(rounds int) row {
	const files = 5000
	project := filepath.Join(h.dir, "large")
	h.must("cp", "-r", h.project, project)
	definition, err := os.ReadFile(filepath.Join(project, "domain/tiny.yaml"))
	require.NoError(h.t, err)
	// Two machines cannot share a port of the host.
	definition = []byte(strings.ReplaceAll(string(definition), ":2222:", ":2223:"))
	require.NoError(h.t, os.WriteFile(filepath.Join(project, "domain/large.yaml"), definition, 0o644))
	for i := range files {
		dir := filepath.Join(project, "source", fmt.Sprint(i/100))
		require.NoError(h.t, os.MkdirAll(dir, 0o755))
		require.NoError(h.t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.txt", i)), fmt.Appendf(nil, "file %d\n", i), 0o644))
	}
	h.must("git", "-C", project, "add", ".")
	h.must(h.vmctl, "-C", h.project, "up", "tiny")
	h.must(h.vmctl, "-C", project, "up", "large")
	var ours, theirs []run
	for range rounds {
		ours = append(ours, h.time(h.vmctl, "-C", project, "up", "large"))
		theirs = append(theirs, h.time(h.vmctl, "-C", h.project, "up", "tiny"))
	}
	h.must(h.vmctl, "-C", project, "down", "--force", "large")
	h.must(h.vmctl, "-C", h.project, "down", "--force", "tiny")
	return compare("`up` with nothing to do, a flake of 5,000 files", "the same with a flake of four", "≤ 1.5", ours, theirs)
}

// pool is the directory of vmctl's pool.
func (h *host) pool() string {
	found := regexp.MustCompile(`<path>([^<]*)</path>`).FindStringSubmatch(h.must("virsh", "pool-dumpxml", "vmctl"))
	require.Len(h.t, found, 2)
	return found[1]
}

// prune compares the removal of 250 images, which are 500 volumes, with one virsh that is
// told which they are.
func (h *host) prune(rounds int) row {
	const images = 250
	pool := h.pool()
	plant := func() (names []string) {
		for i := range images {
			name := fmt.Sprintf("base-nix-%032d.raw", i)
			names = append(names, name, name+".ok")
			require.NoError(h.t, os.WriteFile(filepath.Join(pool, name), make([]byte, 4096), 0o600))
			require.NoError(h.t, os.WriteFile(filepath.Join(pool, name+".ok"), nil, 0o600))
		}
		h.must("virsh", "pool-refresh", "vmctl")
		return names
	}
	var ours, theirs []run
	for range rounds {
		plant()
		ours = append(ours, h.time(h.vmctl, "-C", h.project, "image", "prune"))
		left, err := filepath.Glob(filepath.Join(pool, "base-nix-0*"))
		require.NoError(h.t, err)
		require.Empty(h.t, left)
		var script strings.Builder
		for _, name := range plant() {
			fmt.Fprintf(&script, "vol-delete --pool vmctl %s;", name)
		}
		theirs = append(theirs, h.time("virsh", script.String()))
	}
	return compare("`image prune` of 500 volumes", "one `virsh` with 500 times vol-delete", "≤ 2", ours, theirs)
}

// shared compares what 20 machines on one image take on the host with 20 copies of it.
func (h *host) shared() amount {
	const machines, size = 20, 32 << 20
	project := filepath.Join(h.dir, "shared")
	content := make([]byte, size)
	_, _ = rand.Read(content)               // never fails
	copy(content[510:], []byte{0x55, 0xaa}) // a disk has a partition table
	require.NoError(h.t, os.MkdirAll(filepath.Join(project, "domain"), 0o755))
	require.NoError(h.t, os.WriteFile(filepath.Join(project, "disk.raw"), content, 0o644))
	copies := filepath.Join(h.dir, "copies")
	require.NoError(h.t, os.MkdirAll(copies, 0o755))
	for i := range machines {
		text := "image: ./disk.raw\nmemory: 32MiB\ncpus: 1\nnetwork: none\naccel: tcg\n"
		require.NoError(h.t, os.WriteFile(filepath.Join(project, "domain", fmt.Sprintf("shared%d.yaml", i)), []byte(text), 0o644))
		h.must("cp", "--reflink=never", filepath.Join(project, "disk.raw"), filepath.Join(copies, fmt.Sprint(i)))
	}
	pool := h.pool()
	before := h.taken(pool)
	h.must(h.vmctl, "-C", project, "up", "--all", "--no-wait")
	ours := h.taken(pool) - before
	h.must(h.vmctl, "-C", project, "down", "--all", "--force")
	require.Equal(h.t, before, h.taken(pool), "nothing stays")
	return amount{
		What: "20 machines on one image", Vmctl: float64(ours) / (1 << 20),
		Reference: "20 copies of the image", Other: float64(h.taken(copies)) / (1 << 20), Target: "≤ 0.1",
	}
}

// taken is what the files of a directory take on the disk, in bytes.
func (h *host) taken(dir string) int64 {
	var sum int64
	require.NoError(h.t, filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			sum += info.Sys().(*syscall.Stat_t).Blocks * 512
		}
		return err
	}))
	return sum
}
