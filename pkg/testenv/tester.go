package testenv

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// AsTester makes a command run as the unprivileged user of the private host, whose
// session daemon starts itself. The command's own Env, if any, is kept where it does not
// say who the user is.
func AsTester(cmd *exec.Cmd) *exec.Cmd {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: testerID, Gid: testerID}
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(without(cmd.Env, "XDG_", "SUDO_", "NIX_"), TesterEnv()...)
	if cmd.Dir == "" {
		cmd.Dir = testerHome
	}
	return cmd
}

// TesterHome is the unprivileged user's home directory.
func TesterHome() string { return testerHome }

// TesterEnv is what a login would set for the unprivileged user, and a nix store of
// their own.
func TesterEnv() []string {
	return append([]string{
		"HOME=" + testerHome, "USER=" + testerName, "LOGNAME=" + testerName,
		"XDG_RUNTIME_DIR=/run/user/" + strconv.Itoa(testerID),
	}, nixEnv(nixBase(testerID))...)
}

func without(env []string, prefixes ...string) []string {
	var kept []string
next:
	for _, e := range env {
		for _, p := range prefixes {
			if strings.HasPrefix(e, p) {
				continue next
			}
		}
		kept = append(kept, e)
	}
	return kept
}

// Dir is a directory for one test that every user of the host can enter, QEMU's
// included: t.TempDir's parent is closed to them. owner is "tester" or "".
func Dir(t testing.TB, owner string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "d")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // the sandbox takes the rest with it
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if owner == testerName {
		if err := os.Chown(dir, testerID, testerID); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Give makes the unprivileged user the owner of a tree, so that they may change it.
func Give(t testing.TB, tree string) {
	t.Helper()
	err := filepath.WalkDir(tree, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, testerID, testerID)
	})
	if err != nil {
		t.Fatal(err)
	}
}
