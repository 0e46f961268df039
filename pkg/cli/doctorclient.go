package cli

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"vmctl/pkg/fault"
	"vmctl/pkg/state"
)

// checkDirectories looks at the directories in which vmctl keeps things.
func (c *call) checkDirectories(context.Context) []check {
	dirs, err := c.dirs()
	if err != nil {
		return []check{failed("directories", err)}
	}
	for _, dir := range []string{dirs.Cache, dirs.State, dirs.Runtime} {
		if err := writable(dir); err != nil {
			return []check{failed("directories", fault.New(fault.Other, "%s cannot be written: %w", dir, err).
				WithHint("make it writable, or set XDG_CACHE_HOME, XDG_STATE_HOME and XDG_RUNTIME_DIR to directories that are"))}
		}
	}
	return []check{fine("directories", "%s and %s can be written", dirs.Cache, dirs.State)}
}

// writable says why a directory, or the nearest one above that exists, cannot be
// written, without writing to it.
func writable(dir string) error {
	for {
		err := unix.Access(dir, unix.W_OK|unix.X_OK)
		if !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir) {
			return err
		}
		dir = filepath.Dir(dir)
	}
}

// checkNix looks at nix and its store.
func (c *call) checkNix(ctx context.Context) []check {
	// Asking for the version needs no cache.
	version, err := c.deps.Images(state.Dirs{}, c.progress, c.log).Version(ctx)
	if err != nil {
		k := failed("nix", err)
		if k.Hint == "" {
			k.Hint = "install nix: https://nixos.org/download; machines whose image is a file do without"
		}
		return []check{k}
	}
	return []check{fine("nix", "%s", version.Text), c.checkStore(ctx)}
}

// checkStore says whether nix can put something into its store: by itself or through
// its daemon.
func (c *call) checkStore(ctx context.Context) check {
	store, states := c.deps.getenv("NIX_STORE_DIR"), c.deps.getenv("NIX_STATE_DIR")
	if store == "" {
		store = "/nix/store"
	}
	if states == "" {
		states = "/nix/var/nix"
	}
	remote := c.deps.getenv("NIX_REMOTE")
	if remote != "daemon" && writable(store) == nil && writable(states) == nil {
		return fine("store", "%s can be written", store)
	}
	socket := filepath.Join(states, "daemon-socket", "socket")
	dialer := net.Dialer{Timeout: 5 * time.Second}
	conn, err := dialer.DialContext(ctx, "unix", socket)
	if err == nil {
		_ = conn.Close() // only whether somebody answers was asked
		return fine("store", "%s, through the nix daemon", store)
	}
	hint := "start the nix daemon (systemctl start nix-daemon), or run nix-daemon as root"
	if errors.Is(err, os.ErrPermission) {
		hint = "let the user talk to the nix daemon (Debian: adduser USER nix-users)"
	}
	return failed("store", fault.New(fault.Other, "%s cannot be written, and the nix daemon does not answer: %w", store, reason(err)).WithHint("%s", hint))
}

// reason is the innermost error: the sentence around it names the rest.
func reason(err error) error {
	if call, ok := errors.AsType[*os.SyscallError](err); ok {
		return call.Err
	}
	return err
}
