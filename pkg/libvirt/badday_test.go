package libvirt_test

import (
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"vmctl/pkg/engine"
	"vmctl/pkg/engine/enginetest"
	"vmctl/pkg/fault"
	"vmctl/pkg/libvirt"
	"vmctl/pkg/spec"
	"vmctl/pkg/testenv"
)

func TestConnectionCut(t *testing.T) {
	direct, d := prepared(t)
	link := testenv.RPC(t, testenv.Shape{})
	h, _ := open(t, link.URI())
	defineAndStart(t, direct, d)
	watch, err := h.Events.Watch(t.Context(), machine)
	require.NoError(t, err)
	c, err := h.Consoles.OpenConsole(t.Context(), machine, false)
	require.NoError(t, err)
	link.Close()
	_, err = io.Copy(io.Discard, c)
	require.Equal(t, fault.Unreachable, fault.KindOf(err), "%v", err)
	require.NoError(t, c.Close())
	var last engine.Event
	for e := range watch {
		last = e
	}
	require.Equal(t, engine.EventDisconnected, last.Kind)
	_, err = h.Domains.Domain(t.Context(), machine)
	require.Equal(t, fault.Unreachable, fault.KindOf(err), "%v", err)
	got, err := direct.Domains.Domain(t.Context(), machine)
	require.NoError(t, err)
	require.Equal(t, engine.StateRunning, got.State)
}

func TestUploadCut(t *testing.T) {
	direct, _ := prepared(t)
	link := testenv.RPC(t, testenv.Shape{})
	h, _ := open(t, link.URI())
	require.NoError(t, direct.Volumes.CreateVolume(t.Context(), "v", "raw", 64*spec.MiB))
	err := h.Volumes.Upload(t.Context(), "v", zeros{}, 64<<20, func(sent int64) {
		if sent > 8<<20 {
			link.Close()
		}
	})
	require.Equal(t, fault.Unreachable, fault.KindOf(err), "%v", err)
	require.NoError(t, direct.Volumes.Upload(t.Context(), "v", zeros{}, 64<<20, nil))
}

// A host that accepts and says nothing: only the context ends the wait.
func TestHostThatHangs(t *testing.T) {
	socket := filepath.Join(testenv.Dir(t, ""), "silent")
	l, err := net.Listen("unix", socket)
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	accepted := make(chan net.Conn, 1)
	go func() {
		if c, err := l.Accept(); err == nil {
			accepted <- c
		}
	}()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, _, err := libvirt.Open(ctx, "qemu:///system?socket="+socket)
		done <- err
	}()
	c := <-accepted
	cancel()
	err = <-done
	require.Equal(t, fault.Interrupted, fault.KindOf(err), "%v", err)
	require.NoError(t, c.Close())

	_, _, err = libvirt.Open(t.Context(), "qemu:///system?socket="+socket, libvirt.WithPatience(10*time.Millisecond))
	require.Equal(t, fault.Unreachable, fault.KindOf(err))
	require.ErrorContains(t, err, "the host takes the connection, and then says nothing")
}

// A host that stops answering in the middle: calls end with their context, and closing
// does not wait for it.
func TestHostThatStalls(t *testing.T) {
	direct, d := prepared(t)
	link := testenv.RPC(t, testenv.Shape{})
	h, closer, err := libvirt.Open(t.Context(), link.URI())
	require.NoError(t, err)
	defineAndStart(t, direct, d)
	console, err := h.Consoles.OpenConsole(t.Context(), machine, false)
	require.NoError(t, err)
	link.Stall()
	defer link.Mend()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = h.Domains.Domain(ctx, machine)
	require.Equal(t, fault.Timeout, fault.KindOf(err), "%v", err)
	require.NoError(t, console.Close())
	_, err = console.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrClosed)
	require.NoError(t, closer.Close())
}

func TestNothingLeaks(t *testing.T) {
	uri := testenv.Host(t)
	clean(t, uri)
	t.Cleanup(func() { clean(t, uri) })
	before := goleak.IgnoreCurrent()
	h, closer, err := libvirt.Open(t.Context(), uri)
	require.NoError(t, err)
	d, err := enginetest.Prepare(t.Context(), h, true)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	watch, err := h.Events.Watch(ctx, "")
	require.NoError(t, err)
	defineAndStart(t, h, d)
	for range 20 {
		console, err := h.Consoles.OpenConsole(t.Context(), machine, false)
		require.NoError(t, err)
		go func() { _, _ = io.Copy(io.Discard, console) }()
		require.NoError(t, console.Close())
		log, err := h.Volumes.ReadLog(t.Context(), engine.LogVolume(machine), 0)
		require.NoError(t, err)
		require.NoError(t, log.Close())
	}
	cancel()
	for range watch {
	}
	require.NoError(t, closer.Close())
	// The event loop is the process's, and stays.
	goleak.VerifyNone(t, before, goleak.IgnoreAnyFunction("vmctl/pkg/libvirt.runLoop"))
}

// libvirtd dies and comes back: what ran runs on, and the next connection sees it.
func TestDaemonKilled(t *testing.T) {
	h, d := prepared(t)
	defineAndStart(t, h, d)
	watch, err := h.Events.Watch(t.Context(), machine)
	require.NoError(t, err)
	console, err := h.Consoles.OpenConsole(t.Context(), machine, false)
	require.NoError(t, err)

	n := libvirtdPID(t)
	require.NoError(t, syscall.Kill(n, syscall.SIGKILL))
	require.Eventually(t, func() bool { return syscall.Kill(n, 0) == syscall.ESRCH }, time.Minute, 10*time.Millisecond)
	// It leaves the lock of the console, which no other user's libvirt can remove.
	locks, err := filepath.Glob("/var/lock/LCK..*")
	require.NoError(t, err)
	for _, lock := range locks {
		require.NoError(t, os.Remove(lock))
	}

	_, err = io.Copy(io.Discard, console)
	require.Equal(t, fault.Unreachable, fault.KindOf(err), "%v", err)
	require.NoError(t, console.Close())
	for range watch {
	}
	_, _, err = libvirt.Open(t.Context(), testenv.System)
	require.Equal(t, fault.Unreachable, fault.KindOf(err), "%v", err)
	require.ErrorContains(t, err, "libvirt is not running there")

	startLibvirtd(t, n)
	again, _ := open(t, testenv.System)
	got, err := again.Domains.Domain(t.Context(), machine)
	require.NoError(t, err)
	require.Equal(t, engine.StateRunning, got.State)
	require.Equal(t, &d.Record, got.Live.Record)
}

func TestUserWithoutRights(t *testing.T) {
	uri := testenv.Host(t)
	cmd := testenv.AsTester(exec.Command(forTester(t)))
	cmd.Env = append(cmd.Env, noopVar+"="+uri)
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "cannot connect to qemu:///system: this user may not use ")
	require.Contains(t, string(out), "group libvirt")
}

func TestNoSuchSocket(t *testing.T) {
	_, _, err := libvirt.Open(t.Context(), "qemu:///system?socket=/nowhere/sock")
	require.Equal(t, fault.Unreachable, fault.KindOf(err))
	require.EqualError(t, err, "cannot connect to qemu:///system?socket=/nowhere/sock: libvirt is not running there (nothing listens on /nowhere/sock)")
}
