//go:build bench

package bench

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/stretchr/testify/require"

	"vmctl/pkg/testenv"
)

// boots compares two ways for the guest to come to its system: the kernel and initramfs given to
// QEMU as files of the host, and the boot loader on its disk. Both runs end when the guest is ready.
func (h *host) boots(rounds int) row {
	testenv.Tool(h.t, "mcopy")
	// QEMU runs as a user of its own, which has to get there.
	dir, err := os.MkdirTemp("/var/tmp", "")
	require.NoError(h.t, err)
	h.t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(h.t, os.Chmod(dir, 0o755))
	disk := filepath.Join(dir, "disk.raw")
	h.must("qemu-img", "convert", "-O", "raw", h.image, disk)
	const partition = "@@1M" // where the image's boot partition begins
	for _, file := range []string{"vmlinuz", "initrd", "syslinux.cfg"} {
		h.must("mcopy", "-i", disk+partition, "::/"+file, filepath.Join(dir, file))
	}
	config, err := os.ReadFile(filepath.Join(dir, "syslinux.cfg"))
	require.NoError(h.t, err)
	_, line, found := strings.Cut(string(config), "APPEND ")
	require.True(h.t, found, "%s", config)
	line, _, _ = strings.Cut(line, "\n")

	definition := "image: images/tiny\nmemory: 256MiB\ncpus: 1\nnetwork: none\n"
	direct := definition + "xml:\n" +
		"- at: os\n  add: <kernel>" + filepath.Join(dir, "vmlinuz") + "</kernel><initrd>" + filepath.Join(dir, "initrd") + "</initrd>" +
		"<cmdline>" + line + "</cmdline>\n"
	for name, text := range map[string]string{"loaded": definition, "direct": direct} {
		file := filepath.Join(h.project, "domain", name+".yaml")
		require.NoError(h.t, os.WriteFile(file, []byte(text), 0o644))
		defer func() { _ = os.Remove(file) }()
	}
	boot := func(name string) run {
		took := h.time(h.vmctl, "-C", h.project, "up", name)
		h.must(h.vmctl, "-C", h.project, "down", "--force", name)
		return took
	}
	var ours, theirs []run
	for range rounds {
		ours, theirs = append(ours, boot("direct")), append(theirs, boot("loaded"))
	}
	return compare("`up` until the guest is ready, kernel and initramfs from the host", "`up` with the boot loader on its disk", "", ours, theirs)
}
