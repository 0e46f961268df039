package testenv

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// nixConf makes nix work without a daemon, build users, a sandbox or a network.
const nixConf = `sandbox = false
build-users-group =
substitute = false
substituters =
`

// Nix returns the environment for nix with a private store, to be appended to
// os.Environ. The store belongs to the user who runs the tests, lies where QEMU's own
// user can reach it, and outlives the run: an image is built once, not once per test.
// Tests that collect garbage must use NixIn with a directory of their own.
func Nix(t testing.TB) []string {
	t.Helper()
	return prepareNix(t, nixBase(os.Getuid()), os.Getuid())
}

// TesterNix is Nix for the unprivileged user; AsTester sets the same variables.
func TesterNix(t testing.TB) []string {
	t.Helper()
	return prepareNix(t, nixBase(testerID), testerID)
}

// NixIn is Nix with a fresh store below dir.
func NixIn(t testing.TB, dir string) []string {
	t.Helper()
	return prepareNix(t, dir, os.Getuid())
}

// nixBase is in /var/tmp because a store's path becomes part of what is built there:
// it must stay the same from run to run.
func nixBase(uid int) string { return "/var/tmp/vmctl-test-" + strconv.Itoa(uid) }

func nixEnv(base string) []string {
	env := []string{"NIX_REMOTE=", "NIX_PATH=", "NIX_CONFIG="}
	for _, v := range [][2]string{
		{"NIX_STORE_DIR", "store"}, {"NIX_STATE_DIR", "state"}, {"NIX_LOG_DIR", "log"},
		{"NIX_DATA_DIR", "data"}, {"NIX_CONF_DIR", "conf"},
	} {
		env = append(env, v[0]+"="+filepath.Join(base, v[1]))
	}
	return env
}

func prepareNix(t testing.TB, base string, uid int) []string {
	t.Helper()
	Tool(t, "nix")
	conf := filepath.Join(base, "conf")
	for _, dir := range []string{base, conf} {
		if err := ownDir(dir, uid); err != nil {
			t.Fatalf("private nix store: %v", err)
		}
	}
	file := filepath.Join(conf, "nix.conf")
	if old, err := os.ReadFile(file); err != nil || string(old) != nixConf {
		if err := os.WriteFile(file, []byte(nixConf), 0o644); err != nil {
			t.Fatalf("private nix store: %v", err)
		}
	}
	return nixEnv(base)
}

// ownDir makes a directory for a user. In a directory that everybody can write to,
// one that is there already may be somebody else's trap.
func ownDir(dir string, uid int) error {
	err := os.Mkdir(dir, 0o755)
	if err != nil && !os.IsExist(err) {
		return err
	}
	if err == nil {
		if err := os.Chown(dir, uid, uid); err != nil {
			return err
		}
		return os.Chmod(dir, 0o755)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !info.IsDir() || !ok || int(st.Uid) != uid {
		return fmt.Errorf("%s is not a directory of user %d: remove it", dir, uid)
	}
	return nil
}
