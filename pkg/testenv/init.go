package testenv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// runInit is PID 1: it makes the host, starts the tests, and reaps until they end.
// libvirt takes over a second to destroy a domain where nobody reaps its QEMU at once.
func runInit() int {
	syscall.Umask(0o022)
	if err := makeHost(); err != nil {
		fmt.Fprintln(os.Stderr, "testenv: cannot make a private host:", err)
		return 1
	}
	if err := testsEnv(); err != nil {
		fmt.Fprintln(os.Stderr, "testenv:", err)
		return 1
	}
	tests := again(stageTests)
	if err := tests.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "testenv: cannot start the tests:", err)
		return 1
	}
	stop := forward(tests.Process.Pid)
	defer stop()
	return reapUntil(tests.Process.Pid)
}

// reapUntil waits for every child, its own and the orphans it inherits, until one ends.
func reapUntil(last int) int {
	for {
		var ws syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &ws, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			fmt.Fprintln(os.Stderr, "testenv: cannot wait for the tests:", err)
			return 1
		case pid == last:
			return exitCode(ws)
		}
	}
}

// testsEnv hides the caller's home from the tests, but not their Go caches: some tests
// build the program.
func testsEnv() error {
	cache, _ := os.UserCacheDir() // without HOME there is no cache to keep
	home, _ := os.UserHomeDir()
	keep := map[string]string{"GOCACHE": filepath.Join(cache, "go-build"), "GOPATH": filepath.Join(home, "go")}
	for name, value := range keep {
		if os.Getenv(name) == "" && filepath.IsAbs(value) {
			if err := os.Setenv(name, value); err != nil {
				return err
			}
		}
	}
	for _, name := range []string{
		"LIBVIRT_DEFAULT_URI", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME",
		"XDG_STATE_HOME", "XDG_DATA_HOME", "SUDO_UID", "SUDO_GID", "SUDO_USER",
	} {
		if err := os.Unsetenv(name); err != nil {
			return err
		}
	}
	if err := os.Setenv("HOME", rootHome); err != nil {
		return err
	}
	return os.Setenv("TMPDIR", tmpDir)
}
