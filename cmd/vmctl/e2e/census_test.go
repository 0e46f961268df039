//go:build e2e

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// census is everything a machine could leave behind: domains, files and processes.
type census []string

// harmless are files that may stay: caches, libvirt's own configuration, sockets and
// logs, the pool itself, which all machines share, what this client is called, and the
// notes on where images came from, which vmctl image prune removes with the images.
var harmless = regexp.MustCompile(strings.Join([]string{
	`/\.cache/`,
	`/\.local/state/vmctl/(?:client$|images/)`, // what is noted about this client, and about images
	`/libvirt/storage/(?:autostart/)?vmctl\.xml$`,
	`/libvirt/qemu/networks/`,
	`^/var/lib/libvirt/qemu/qmp-[^/]+/`, // left by a libvirtd that was killed while it asked QEMU what it can
	`^/var/lib/libvirt/dnsmasq/`,        // a network's own
	`^/run/user/\d+/libvirt/`,
	`/\.config/libvirt/(?:secrets|storage)?$`,
	`/libvirt/qemu/autostart$`,
	`/\.local/state/vmctl/(?:client|images/[a-z0-9-]+\.json)$`,
}, "|"))

// unfinished are files that a kill leaves beside what it keeps from being written, wherever that is.
var unfinished = regexp.MustCompile(`/\.[^/]+\.new$`)

func (p *person) places() []string {
	return []string{p.home, p.pool, p.nvram, p.locks, "/run/tmp", "/var/tmp", "/tmp", "/var/lib/libvirt/qemu", "/etc/libvirt/qemu",
		"/var/lib/libvirt/swtpm", "/var/lib/libvirt/dnsmasq", "/etc/libvirt/secrets", "/etc/libvirt/storage"}
}

// look takes the census. Directories of tests themselves are not in it.
func (p *person) look(t *testing.T) census {
	t.Helper()
	all := map[string]bool{}
	for name := range strings.FieldsSeq(p.ask(t, "list --all --name")) {
		all["domain "+name] = true
	}
	for _, place := range p.places() {
		shallow := place == "/run/tmp" || place == "/var/tmp" || place == "/tmp"
		err := filepath.WalkDir(p.root+place, func(path string, d fs.DirEntry, err error) error {
			path = strings.TrimPrefix(path, p.root)
			switch {
			case os.IsNotExist(err):
				return nil
			case err != nil:
				return err
			case shallow && path == place:
				return nil
			case shallow && !strings.Contains(path, "vmctl") && (place != "/run/tmp" || !strings.HasPrefix(d.Name(), ".")):
				// Somebody else's: the whole machine shares these.
			case place == "/run/tmp" && d.IsDir():
				all["directory "+path] = true
			case !d.IsDir() && d.Type()&fs.ModeSocket == 0 && (!harmless.MatchString(path) || unfinished.MatchString(path)):
				all["file "+path] = true
			}
			if shallow && d.IsDir() && path != place {
				return fs.SkipDir
			}
			return nil
		})
		require.NoError(t, err)
	}
	for _, line := range processes(t) {
		all["process "+line] = true
	}
	return slices.Sorted(maps.Keys(all))
}

// processes are the command lines of what vmctl or its machines start.
func processes(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	var found []string
	for _, path := range paths {
		content, _ := os.ReadFile(path) // it may have ended meanwhile
		argv := strings.Split(strings.TrimRight(string(content), "\x00"), "\x00")
		switch name := filepath.Base(argv[0]); {
		case strings.HasPrefix(name, "qemu-system"), name == "vmctl", name == "ssh", name == "swtpm", name == "virtiofsd", name == "nix", name == "qemu-img", name == "nix-daemon":
			line := strings.Join(argv, " ")
			// What libvirt asks to find out about QEMU ends by itself.
			if !strings.Contains(line, "qmp.monitor") && !strings.Contains(line, "-machine none") {
				found = append(found, line[:min(len(line), 120)])
			}
		}
	}
	return found
}

// nothingLeft waits until only what was there before is there: processes need a
// moment to go.
func (p *person) nothingLeft(t *testing.T, before census) {
	t.Helper()
	var left []string
	eventually(t, func() bool {
		left = slices.DeleteFunc(slices.Clone(p.look(t)), func(s string) bool { return slices.Contains(before, s) })
		return len(left) == 0
	})
	require.Empty(t, left, "left behind")
}

// eventually waits until something holds, or gives up: the caller then says what does not.
func eventually(t *testing.T, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(15 * time.Second)
	defer deadline.Stop()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for !holds() {
		select {
		case <-again.C:
		case <-deadline.C:
			return
		}
	}
}

// fingerprint is what must never change about a file of the nix store.
func fingerprint(t *testing.T, file string) string {
	t.Helper()
	info, err := os.Stat(file)
	require.NoError(t, err)
	st, ok := info.Sys().(*syscall.Stat_t)
	require.True(t, ok)
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	sum := sha256.New()
	_, err = io.Copy(sum, f)
	require.NoError(t, err)
	return fmt.Sprintf("%d:%d %s %s", st.Uid, st.Gid, info.Mode(), hex.EncodeToString(sum.Sum(nil)))
}
