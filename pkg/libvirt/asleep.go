package libvirt

import (
	"cmp"
	"context"
	"net"
	"path/filepath"
	"strings"
)

// Asleep says that a URI is that of the user's own libvirt here, and that it does not run: to
// ask it would start it. Guests keep it running.
func Asleep(ctx context.Context, uri string, getenv func(string) string) bool {
	if uri, _, _ = strings.Cut(uri, "?"); uri != "qemu:///session" {
		return false
	}
	// virGetUserRuntimeDirectory, and the sockets of libvirtd and virtqemud in it.
	dir := cmp.Or(getenv("XDG_RUNTIME_DIR"), getenv("XDG_CACHE_HOME"), filepath.Join(getenv("HOME"), ".cache"))
	for _, socket := range []string{"libvirt-sock", "virtqemud-sock"} {
		if c, err := (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(dir, "libvirt", socket)); err == nil {
			_ = c.Close()
			return false
		}
	}
	return true
}
