// Package state says where on the client vmctl keeps what makes it fast: caches,
// GC roots and locks. Nothing here is needed for correctness; libvirt holds the truth.
package state

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"vmctl/pkg/fault"
)

// Dirs are the directories, none of which need exist yet.
type Dirs struct {
	// Cache may be deleted at any time.
	Cache string
	// State holds the GC roots of images that machines use.
	State string
	// Config holds what the user decided; vmctl writes there only when told to.
	Config string
	// Runtime holds locks, for as long as a process holds them.
	Runtime string
}

// Find resolves the directories by the XDG base directory specification. Without
// HOME and the XDG variables it gives an error that names them.
func Find(getenv func(string) string) (Dirs, error) {
	home := getenv("HOME")
	pick := func(variable, fallback string) string {
		if dir := getenv(variable); filepath.IsAbs(dir) {
			return filepath.Join(dir, "vmctl")
		}
		if !filepath.IsAbs(home) {
			return ""
		}
		return filepath.Join(home, fallback, "vmctl")
	}
	d := Dirs{
		Cache: pick("XDG_CACHE_HOME", ".cache"), State: pick("XDG_STATE_HOME", ".local/state"),
		Config: pick("XDG_CONFIG_HOME", ".config"),
	}
	if d.Cache == "" || d.State == "" {
		return Dirs{}, fault.New(fault.Other, "there is no home directory to keep caches in: HOME is not set").
			WithHint("set HOME, or both XDG_CACHE_HOME and XDG_STATE_HOME")
	}
	d.Runtime = filepath.Join(d.State, "locks")
	if dir := getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		// One that su left behind is another user's.
		if info, err := os.Stat(dir); err == nil && info.IsDir() && ownedBy(info, os.Geteuid()) {
			d.Runtime = filepath.Join(dir, "vmctl")
		}
	}
	return d, nil
}

func ownedBy(info os.FileInfo, uid int) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == uid
}

// Hosts is the file with the names that the user gave to libvirt hosts; empty when
// there is no home directory for it.
func (d Dirs) Hosts() string {
	if d.Config == "" {
		return ""
	}
	return filepath.Join(d.Config, "hosts.yaml")
}

// GCRoots is the directory of the GC root links that keep one machine's images on one host.
func (d Dirs) GCRoots(hostURI, machine string) string {
	return filepath.Join(d.State, "gcroots", fileName(hostURI), machine)
}

// KnownHosts is the file with the ssh host keys of one machine on one host.
func (d Dirs) KnownHosts(hostURI, machine string) string {
	return filepath.Join(d.State, "ssh", "known", fileName(hostURI), machine)
}

// SSHConfig is the directory of the files that ~/.ssh/config includes, and the one of a
// project in it; an empty project is that of machines outside of any.
func (d Dirs) SSHConfig(project string) (dir, file string) {
	dir = filepath.Join(d.State, "ssh", "config.d")
	return dir, filepath.Join(dir, fileName("project-"+project))
}

// fileName makes any string one path element that stays readable.
func fileName(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '-', r == '+', r == '@':
			return r
		default:
			return '_'
		}
	}, s)
}
