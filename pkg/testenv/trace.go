package testenv

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Point is a write-like system call that a traced program is about to make.
type Point struct {
	// N counts the points of the program, all its threads together, from 1.
	N int
	// Call is the system call's name.
	Call string
	// PID is the program's process.
	PID int
}

// ErrStopped is what a callback of Trace returns to kill the program right there: the
// system call is never made.
var ErrStopped = errors.New("killed at this point")

// Trace runs a program and calls at before each of its write-like system calls: those that
// change files, send something, signal somebody or start a process. All threads of the program
// count, and what it starts runs free. While at runs the thread stands still. When at
// returns ErrStopped the program dies by SIGKILL without having made the call.
//
// strace counts each thread for itself, so that its injection has no n-th call of a program
// with several threads; hence this. The program's standard streams must be files.
func Trace(cmd *exec.Cmd, at func(Point) error) (syscall.WaitStatus, error) {
	// The kernel takes ptrace requests from the thread alone that started the program.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer onOneCPU()()
	// The program would count that processor alone, and take turns where it does things at once.
	cmd.Env = append(cmd.Environ(), "GOMAXPROCS="+strconv.Itoa(runtime.NumCPU()))
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	// A process group of its own: one wait for all threads, and for nobody else's children.
	cmd.SysProcAttr.Ptrace, cmd.SysProcAttr.Setpgid = true, true
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	t := &tracer{pid: cmd.Process.Pid, at: at, known: map[int]bool{cmd.Process.Pid: true}}
	ws, err := t.run()
	if err != nil {
		_ = syscall.Kill(t.pid, syscall.SIGKILL)
		return ws, err
	}
	return ws, cmd.Process.Release()
}

// onOneCPU keeps the thread, and what it starts, on the processor where it is: tracer and
// program wake each other at each system call, which takes much longer from one processor to another.
func onOneCPU() (undo func()) {
	var all, one unix.CPUSet
	var cpu uint32
	_, _, errno := unix.RawSyscall(unix.SYS_GETCPU, uintptr(unsafe.Pointer(&cpu)), 0, 0)
	if errno != 0 || unix.SchedGetaffinity(0, &all) != nil {
		return func() {}
	}
	one.Set(int(cpu))
	_ = unix.SchedSetaffinity(0, &one) // it works without, only slower
	return func() { _ = unix.SchedSetaffinity(0, &all) }
}

type tracer struct {
	pid   int
	at    func(Point) error
	n     int
	done  bool
	known map[int]bool
}

const (
	syscallStop = syscall.SIGTRAP | 0x80 // PTRACE_O_TRACESYSGOOD
	getSyscall  = 0x420e                 // PTRACE_GET_SYSCALL_INFO, see ptrace(2)
	atEntry     = 1
)

// syscallInfo is struct ptrace_syscall_info at a call's entry.
type syscallInfo struct {
	op   uint8
	_    [3]uint8
	_    uint32
	_, _ uint64
	nr   uint64
	args [6]uint64
}

func (t *tracer) run() (syscall.WaitStatus, error) {
	var ws syscall.WaitStatus
	if _, err := syscall.Wait4(t.pid, &ws, unix.WALL, nil); err != nil {
		return ws, fmt.Errorf("wait for the program to start: %w", err)
	}
	options := unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_EXITKILL
	if err := unix.PtraceSetOptions(t.pid, options); err != nil {
		return ws, fmt.Errorf("trace the program: %w", err)
	}
	for id, signal := t.pid, 0; ; {
		// ESRCH: the thread is dying, and the next wait tells.
		if err := unix.PtraceSyscall(id, signal); err != nil && !errors.Is(err, unix.ESRCH) {
			return ws, fmt.Errorf("let the program go on: %w", err)
		}
		var err error
		for id = 0; id == 0; {
			id, err = syscall.Wait4(-t.pid, &ws, unix.WALL, nil)
			switch {
			case errors.Is(err, syscall.EINTR):
				id = 0
			case err != nil:
				return ws, fmt.Errorf("wait for the program: %w", err)
			case !ws.Stopped():
				if id == t.pid {
					return ws, nil
				}
				id = 0 // one of its threads has ended
			}
		}
		signal = t.stopped(id, ws)
	}
}

// stopped looks at a thread that stands still, and gives the signal that it goes on with.
func (t *tracer) stopped(id int, ws syscall.WaitStatus) int {
	first := !t.known[id]
	t.known[id] = true
	switch s := ws.StopSignal(); {
	case s == syscallStop:
		t.entered(id)
	case s == syscall.SIGTRAP && ws.TrapCause() > 0: // a thread was started
	case s == syscall.SIGSTOP && first: // a thread that starts
	case s == syscall.SIGTRAP:
	default:
		return int(s)
	}
	return 0
}

func (t *tracer) entered(id int) {
	var info syscallInfo
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, getSyscall, uintptr(id), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0)
	if errno != 0 || info.op != atEntry || t.done {
		return
	}
	name, ok := writeLike[info.nr]
	if !ok || !t.counts(&info) {
		return
	}
	t.n++
	if err := t.at(Point{N: t.n, Call: name, PID: t.pid}); err != nil {
		t.done = true
		_ = syscall.Kill(t.pid, syscall.SIGKILL)
	}
}

// writeLike are the system calls that change something outside of the program.
var writeLike = map[uint64]string{
	unix.SYS_WRITE: "write", unix.SYS_PWRITE64: "pwrite64", unix.SYS_WRITEV: "writev", unix.SYS_PWRITEV: "pwritev",
	unix.SYS_SENDTO: "sendto", unix.SYS_SENDMSG: "sendmsg", unix.SYS_SENDFILE: "sendfile", unix.SYS_SPLICE: "splice",
	unix.SYS_COPY_FILE_RANGE: "copy_file_range", unix.SYS_OPENAT: "openat", unix.SYS_UNLINKAT: "unlinkat",
	unix.SYS_RENAMEAT: "renameat", unix.SYS_RENAMEAT2: "renameat2", unix.SYS_MKDIRAT: "mkdirat", unix.SYS_SYMLINKAT: "symlinkat",
	unix.SYS_LINKAT: "linkat", unix.SYS_FTRUNCATE: "ftruncate", unix.SYS_FALLOCATE: "fallocate", unix.SYS_FCHMOD: "fchmod",
	unix.SYS_FCHMODAT: "fchmodat", unix.SYS_FCHOWN: "fchown", unix.SYS_FLOCK: "flock", unix.SYS_FSYNC: "fsync",
	unix.SYS_CONNECT: "connect", unix.SYS_CLONE: "clone", unix.SYS_CLONE3: "clone3", unix.SYS_KILL: "kill",
}

// counts leaves out what changes nothing: files opened to be read, new threads, and
// a thread that wakes another.
func (t *tracer) counts(info *syscallInfo) bool {
	switch info.nr {
	case unix.SYS_OPENAT:
		return info.args[2]&(unix.O_WRONLY|unix.O_RDWR|unix.O_CREAT) != 0 && !t.isDevice(info.args[1])
	case unix.SYS_CLONE:
		return info.args[0]&unix.CLONE_THREAD == 0
	case unix.SYS_CLONE3:
		return t.word(info.args[0])&unix.CLONE_THREAD == 0
	case unix.SYS_WRITE, unix.SYS_WRITEV:
		target, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", t.pid, info.args[0]))
		return err != nil || !strings.Contains(target, "[eventfd]")
	}
	return true
}

// isDevice says that a path in the program's memory begins with /dev/ or /proc/.
func (t *tracer) isDevice(address uint64) bool {
	path := make([]byte, 6)
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", t.pid))
	if err != nil {
		return false
	}
	defer func() { _ = memory.Close() }()
	_, err = memory.ReadAt(path, int64(address))
	return err == nil && (strings.HasPrefix(string(path), "/dev/") || string(path) == "/proc/")
}

// word reads eight bytes of the program's memory.
func (t *tracer) word(address uint64) uint64 {
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", t.pid))
	if err != nil {
		return 0
	}
	defer func() { _ = memory.Close() }()
	var word [8]byte
	if _, err := memory.ReadAt(word[:], int64(address)); err != nil {
		return 0
	}
	return *(*uint64)(unsafe.Pointer(&word))
}
