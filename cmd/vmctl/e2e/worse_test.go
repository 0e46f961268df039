//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine/enginetest"
	"vmctl/pkg/testenv"
)

// TestWorseDays are the ways in which a client disappoints, and crowds.
func TestWorseDays(t *testing.T) {
	p := root(t)
	pr := p.project(t)
	require.NoError(t, os.WriteFile(filepath.Join(pr.dir, "disk.img"), enginetest.BootDisk(), 0o644))
	pr.machine(t, "one", "image: ./disk.img")
	pr.machine(t, "two", "image: ./disk.img")
	pr.ok(t, "up", "--no-wait", "one") // makes the pool
	pr.ok(t, "down", "--force", "one")
	for name, day := range map[string]func(*testing.T, *project){
		"eight at once":    eightAtOnce,
		"QEMU dies":        qemuDies,
		"QEMU crashes":     qemuCrashes,
		"few files":        fewFiles,
		"little memory":    littleMemory,
		"read-only home":   readOnlyHome,
		"told to go":       toldToGo,
		"somebody's start": somebodysStart,
	} {
		t.Run(name, func(t *testing.T) {
			t.Cleanup(func() { p.tidy(t) })
			before := p.look(t)
			day(t, pr)
			pr.ok(t, "up", "--no-wait", "one")
			assert.Contains(t, pr.ok(t, "up", "--no-wait", "one").err, "one is up to date")
			pr.ok(t, "down", "--force", "one")
			p.nothingLeft(t, before)
		})
	}
}

// eightAtOnce brings two machines on one image up and down by eight vmctl.
func eightAtOnce(t *testing.T, pr *project) {
	var all sync.WaitGroup
	results := make([]result, 8)
	for i := range results {
		args := []string{"up", "--no-wait", []string{"one", "two"}[i%2]}
		if i%4 > 1 {
			args = []string{"down", "--force", args[2]}
		}
		all.Go(func() { results[i] = pr.vmctl(t, args...) })
	}
	all.Wait()
	for _, r := range results {
		assert.Zero(t, r.code, r.err) // they wait for each other
	}
	pr.ok(t, "up", "--no-wait", "one", "two")
	assert.Len(t, qemus(t), 2)
	pr.ok(t, "down", "--force", "two")
}

// qemuDies kills QEMU as soon as it runs.
func qemuDies(t *testing.T, pr *project) {
	killed := false
	r := pr.watched(t, []string{"up", "--timeout", "20s", "one"}, func(e event, _ *os.Process) {
		if killed || !strings.HasPrefix(e.ID, "one/start domain") || e.Status != "done" {
			return
		}
		for _, pid := range qemus(t) {
			n, err := strconv.Atoi(pid)
			require.NoError(t, err)
			killed = syscall.Kill(n, syscall.SIGKILL) == nil
		}
	})
	require.True(t, killed, r.err)
	assert.Equal(t, 1, r.code, r.err)
	assert.Contains(t, r.err, `"hint":`)
}

// qemuCrashes uses a QEMU that answers libvirt's questions, and crashes when it is to run a guest.
func qemuCrashes(t *testing.T, pr *project) {
	before := pr.p.look(t)
	emulator := filepath.Join(testenv.Dir(t, ""), "qemu")
	require.NoError(t, os.WriteFile(emulator, []byte("#!/bin/sh\ncase \"$*\" in *guest=*) kill -SEGV $$ ;; esac\nexec qemu-system-x86_64 \"$@\"\n"), 0o755))
	pr.machine(t, "two", "image: ./disk.img", "xml: [{at: devices, add: <emulator>"+emulator+"</emulator>}]")
	pr.refused(t, 1, []string{"up", "--no-wait", "two"}, "cannot start domain two", "hint:")
	pr.ok(t, "down", "two")
	pr.p.nothingLeft(t, before)
	pr.machine(t, "two", "image: ./disk.img")
}

func fewFiles(t *testing.T, pr *project) {
	r := pr.p.finish(t, pr.p.command(t, pr.dir, "prlimit", "--nofile=16", filepath.Join(pr.p.bin, "vmctl"), "up", "--no-wait", "one"))
	assert.Contains(t, []int{0, 1, 6}, r.code, r.err)
	assert.NotContains(t, r.err, "goroutine ")
}

// littleMemory gives vmctl less than it needs: Go's runtime itself may end it.
func littleMemory(t *testing.T, pr *project) {
	for _, limit := range []string{"120000000", "400000000"} {
		r := pr.p.finish(t, pr.p.command(t, pr.dir, "prlimit", "--as="+limit, filepath.Join(pr.p.bin, "vmctl"), "up", "--no-wait", "one"))
		assert.NotZero(t, r.code, r.err)
	}
}

// readOnlyHome lets nothing be written where vmctl keeps its locks and notes.
func readOnlyHome(t *testing.T, pr *project) {
	home := pr.p.home
	require.NoError(t, syscall.Mount(home, home, "", syscall.MS_BIND, ""))
	defer func() { require.NoError(t, syscall.Unmount(home, 0)) }()
	require.NoError(t, syscall.Mount("", home, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	pr.refused(t, 1, []string{"up", "--no-wait", "one"}, "read-only file system", "hint:")
	pr.refused(t, 1, []string{"down", "one"}, "read-only file system", "hint:")
	pr.ok(t, "list")
	pr.ok(t, "validate")
}

// toldToGo ends vmctl by the signals of a shutdown and of a terminal that is closed; what comes
// twice at once, as from timeout(1), is one of them.
func toldToGo(t *testing.T, pr *project) {
	before := pr.p.look(t)
	for signal, again := range map[syscall.Signal]syscall.Signal{syscall.SIGTERM: syscall.SIGINT, syscall.SIGHUP: syscall.SIGTERM} {
		sent := false
		r := pr.watched(t, []string{"up", "--no-wait", "two"}, func(e event, vmctl *os.Process) {
			if !sent && strings.HasPrefix(e.ID, "two/define domain") {
				sent = true
				require.NoError(t, vmctl.Signal(signal))
				require.NoError(t, vmctl.Signal(again)) // another one: the kernel would make one of two that are the same
			}
		})
		assert.Equal(t, 130, r.code, "%s\n%s", signal, r.err)
		assert.Contains(t, r.err, "interrupted")
		pr.p.nothingLeft(t, before)
	}
}

// somebodysStart takes what the machine is to have before it has it: a domain of another
// name has its UUID.
func somebodysStart(t *testing.T, pr *project) {
	pr.ok(t, "up", "--no-wait", "two")
	xml := pr.p.virsh(t, "dumpxml", "--inactive", "two")
	pr.ok(t, "down", "--force", "two")
	pr.p.define(t, strings.Replace(xml, "<name>two</name>", "<name>twin</name>", 1))
	was := pr.p.virsh(t, "dumpxml", "twin")
	for _, args := range [][]string{{"up", "--no-wait", "two"}, {"up", "--replace", "--adopt", "two"}} {
		pr.refused(t, 5, args, "twin")
	}
	pr.ok(t, "down", "--force", "two")
	assert.Equal(t, was, pr.p.virsh(t, "dumpxml", "twin"), "not a byte of it has changed")
	pr.p.virsh(t, "undefine", "twin")
}
