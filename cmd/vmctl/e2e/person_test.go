//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
	"vmctl/pkg/testenv"
)

// person is a user of the host, with the libvirt connection that vmctl takes for them.
type person struct {
	name, uri, home string
	// root is where the files of the host lie, for one that is not this one.
	root string
	// pool and nvram are directories of their libvirt's; locks is where vmctl locks.
	pool, nvram, locks string
	// bin is a directory in front of PATH: vmctl, and a nix that counts its starts.
	bin   string
	nix   []string
	asked virshes
}

// root uses the system connection.
func root(t *testing.T) *person {
	t.Helper()
	tools(t)
	return (&person{
		name: "root", uri: testenv.System, home: os.Getenv("HOME"),
		pool: "/var/lib/libvirt/images/vmctl", nvram: "/var/lib/libvirt/qemu/nvram",
		locks: filepath.Join(os.Getenv("HOME"), ".local/state/vmctl"),
		nix:   testenv.Nix(t),
	}).equip(t)
}

// tester has no rights and uses the session connection.
func tester(t *testing.T) *person {
	t.Helper()
	tools(t)
	home := testenv.TesterHome()
	return (&person{
		name: "tester", uri: testenv.Session, home: home,
		pool:  filepath.Join(home, ".local/share/libvirt/images/vmctl"),
		nvram: filepath.Join(home, ".config/libvirt/qemu/nvram"),
		locks: "/run/user/61000/vmctl",
		nix:   testenv.TesterNix(t),
	}).equip(t)
}

func tools(t *testing.T) {
	t.Helper()
	testenv.Host(t)
	testenv.Tool(t, "nix", "virsh", "git", "bash", "qemu-img")
}

func (p *person) equip(t *testing.T) *person {
	t.Helper()
	real, err := exec.LookPath("nix")
	require.NoError(t, err)
	p.bin = testenv.Dir(t, p.owner())
	t.Cleanup(func() { p.tidy(t) })
	p.asked = virshes{}
	t.Cleanup(func() { p.asked.end() })
	counting := "#!/bin/sh\necho \"$*\" >>" + p.nixLog() + "\nexec " + real + " \"$@\"\n"
	require.NoError(t, os.WriteFile(filepath.Join(p.bin, "nix"), []byte(counting), 0o755))
	require.NoError(t, os.Symlink(os.Getenv(binaryVar), filepath.Join(p.bin, "vmctl")))
	require.NoError(t, os.WriteFile(p.nixLog(), nil, 0o666))
	require.NoError(t, os.Chmod(p.nixLog(), 0o666))
	return p
}

func (p *person) owner() string {
	if p.name == "root" {
		return ""
	}
	return p.name
}

func (p *person) nixLog() string { return filepath.Join(p.bin, "nix.log") }

// nixStarts is how often nix was started since the last time it was asked.
func (p *person) nixStarts(t *testing.T) int {
	t.Helper()
	log, err := os.ReadFile(p.nixLog())
	require.NoError(t, err)
	require.NoError(t, os.Truncate(p.nixLog(), 0))
	return bytes.Count(log, []byte{'\n'})
}

// command is a program as this person would start it.
func (p *person) command(t testing.TB, dir, name string, args ...string) *exec.Cmd {
	t.Helper()
	return p.commandIn(t.Context(), dir, name, args...)
}

func (p *person) commandIn(ctx context.Context, dir, name string, args ...string) *exec.Cmd {
	if name == "vmctl" || name == "nix" {
		name = filepath.Join(p.bin, name)
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), p.nix...)
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if p.name == "tester" {
		testenv.AsTester(cmd)
	}
	cmd.Env = append(cmd.Env, "PATH="+p.bin+":"+os.Getenv("PATH"), "CI=")
	return cmd
}

// result is how a program ended that was not in a terminal.
type result struct {
	out, err string
	code     int
}

func (p *person) try(t *testing.T, dir string, args ...string) result {
	t.Helper()
	return p.finish(t, p.command(t, dir, "vmctl", args...))
}

func (p *person) finish(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var out, diag bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &diag
	require.NoError(t, cmd.Start())
	_ = cmd.Wait() // the exit code says it
	return result{out.String(), diag.String(), cmd.ProcessState.ExitCode()}
}

// ok runs vmctl, which must succeed.
func (p *person) ok(t *testing.T, dir string, args ...string) result {
	t.Helper()
	r := p.try(t, dir, args...)
	require.Zero(t, r.code, "vmctl %s\n%s%s", strings.Join(args, " "), r.out, r.err)
	return r
}

// refused runs vmctl, which must end with a code and say each of the words.
func (p *person) refused(t *testing.T, code int, dir string, args []string, words ...string) result {
	t.Helper()
	r := p.try(t, dir, args...)
	require.Equal(t, code, r.code, "vmctl %s\n%s%s", strings.Join(args, " "), r.out, r.err)
	require.Contains(t, r.err, "vmctl: ")
	require.NotContains(t, r.err, "failed to", "errors are sentences, not chains")
	require.NotContains(t, r.err, "virError", "errors do not show libvirt's numbers")
	for _, word := range words {
		require.Contains(t, r.err, word)
	}
	return r
}

func (p *person) virsh(t *testing.T, args ...string) string {
	t.Helper()
	cmd := p.command(t, "/", "virsh", append([]string{"-c", p.uri}, args...)...)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s\n%s", cmd, out)
	return strings.TrimSpace(string(out))
}

// volume is the path of a machine's root disk.
func (p *person) volume(machine string) string {
	return filepath.Join(p.pool, engine.RootVolume(machine))
}
