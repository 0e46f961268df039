package testenv

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// The two private hosts are joined by a cable of their own.
const (
	secondName = "vmhost2"
	cable      = "cable0"
	firstIP    = "10.77.0.1"
	secondIP   = "10.77.0.2"
)

// SecondHost is another libvirt host in namespaces of its own, joined to the first by a
// network cable. It shares no directory with the first but the programs.
type SecondHost struct {
	pid int
}

// Second makes the second host. It is gone when the test ends.
func Second(t testing.TB) *SecondHost {
	t.Helper()
	Host(t)
	Tool(t, "ip", "nsenter")
	ready, told, err := os.Pipe()
	must(t, err)
	defer ready.Close()
	cmd := again(stageSecond)
	cmd.ExtraFiles = []*os.File{told}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC,
	}
	must(t, cmd.Start())
	told.Close()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // PID 1 of its namespace: all of it goes
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(ready).ReadString('\n'); err != nil {
		t.Fatalf("the second host did not come up: %v %s", err, line)
	}
	s := &SecondHost{pid: cmd.Process.Pid}
	pid := strconv.Itoa(s.pid)
	for _, args := range [][]string{
		{"link", "add", cable, "type", "veth", "peer", "name", cable, "netns", pid},
		{"addr", "add", firstIP + "/24", "dev", cable},
		{"link", "set", cable, "up"},
	} {
		run(t, "ip", args...)
	}
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", cable).Run() }) // the peer's end took it along
	run(t, "nsenter", "-t", pid, "-n", "ip", "addr", "add", secondIP+"/24", "dev", cable)
	run(t, "nsenter", "-t", pid, "-n", "ip", "link", "set", cable, "up")
	return s
}

// URI is the connection to the second host's system daemon.
func (s *SecondHost) URI() string { return "qemu+tcp://" + secondIP + "/system" }

// Address is the second host's; FirstAddress is the first one's as the second reaches it.
func (s *SecondHost) Address() string { return secondIP }

// FirstAddress is the first host's address on the cable.
func (s *SecondHost) FirstAddress() string { return firstIP }

// Path is a file of the second host as it is seen here.
func (s *SecondHost) Path(file string) string {
	return filepath.Join("/proc", strconv.Itoa(s.pid), "root", file)
}

// Stop ends the second host as a power cut does.
func (s *SecondHost) Stop(t testing.TB) {
	t.Helper()
	must(t, syscall.Kill(s.pid, syscall.SIGKILL))
}

func run(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// runSecond is PID 1 of the second host: it makes it, tells its maker on file descriptor
// 3, and reaps until it is killed.
func runSecond() int {
	syscall.Umask(0o022)
	if err := makeSecond(); err != nil {
		fmt.Fprintln(os.Stderr, "testenv: cannot make a second host:", err)
		return 1
	}
	told := os.NewFile(3, "ready")
	if _, err := told.WriteString("ready\n"); err != nil {
		return 1
	}
	_ = told.Close()
	for {
		var ws syscall.WaitStatus
		if _, err := syscall.Wait4(-1, &ws, 0, nil); err != nil && !errors.Is(err, syscall.EINTR) {
			fmt.Fprintln(os.Stderr, "testenv: the second host has no processes left:", err)
			return 1
		}
	}
}

// makeSecond is makeHost without what only the first needs. The first one's files are
// hidden, so that nothing works by accident because both see them.
func makeSecond() error {
	if err := makeHostAs(secondName, secondIP, "5b0e2f60-6b5c-4a55-9d0e-2d6c8f1a7e42", "--listen"); err != nil {
		return err
	}
	return syscall.Mount("tmpfs", "/var/tmp", "tmpfs", 0, "mode=1777")
}
