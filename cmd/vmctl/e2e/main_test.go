//go:build e2e

// Package e2e drives vmctl as a person does, through a real terminal: real nix builds
// images/tiny, a real libvirt and QEMU boot it, and nothing stands in for anything.
// Everything runs on a private host in namespaces, see pkg/testenv.
package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"vmctl/pkg/testenv"
)

func TestMain(m *testing.M) {
	fetchDebian()
	os.Exit(testenv.Main(withProgram{m}))
}

// binaryVar names the vmctl to test. Without it one is built.
const binaryVar = "VMCTL_BIN"

// withProgram builds vmctl before the tests run.
type withProgram struct{ tests testenv.M }

func (w withProgram) Run() int {
	if os.Getenv(binaryVar) == "" {
		dir, err := os.MkdirTemp("", "vmctl-e2e-")
		if err == nil {
			defer os.RemoveAll(dir)
			err = build(filepath.Join(dir, "vmctl"))
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "e2e: cannot build vmctl:", err)
			return 1
		}
	}
	return w.tests.Run()
}

func build(file string) error {
	cmd := exec.Command("go", "build", "-tags", "libvirt_dlopen,urfave_cli_no_docs", "-o", file, "vmctl/cmd/vmctl")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	// Everybody on the host must be able to run it.
	if err := os.Chmod(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.Setenv(binaryVar, file)
}
