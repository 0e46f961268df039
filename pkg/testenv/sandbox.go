package testenv

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
)

// The test binary runs three times, each started by the one before:
// the caller's process, which only waits; PID 1 of the new namespaces, which makes the
// host and reaps; and the tests. The variable says which one this is.
const (
	stageVar   = "VMCTL_TESTENV"
	stageInit  = "init"
	stageTests = "tests"
	// stageSecond is PID 1 of a second host.
	stageSecond = "second"
	// refusedVar carries the reason why there is no sandbox to the tests.
	refusedVar = "VMCTL_TESTENV_REFUSED"
)

// M is what runs the tests: *testing.M, or a wrapper of it.
type M interface{ Run() int }

// Main runs the tests on a private host and returns their exit code. Without the
// rights to make namespaces the tests run all the same, and Host skips those that need it.
func Main(m M) int { return Sandbox(m).Run() }

// Sandbox is Main for wrappers that want to call Run themselves, such as testscript.Main.
func Sandbox(m M) M { return sandbox{m} }

type sandbox struct{ tests M }

func (s sandbox) Run() int {
	switch os.Getenv(stageVar) {
	case stageTests:
		return s.tests.Run()
	case stageInit:
		return runInit()
	case stageSecond:
		return runSecond()
	}
	if os.Geteuid() != 0 {
		return s.without("it needs root: go tool task test asks for it")
	}
	code, err := enter()
	if err != nil {
		return s.without(err.Error())
	}
	return code
}

func (s sandbox) without(why string) int {
	if err := os.Setenv(refusedVar, why); err != nil {
		panic(err)
	}
	return s.tests.Run()
}

// enter starts PID 1 of the new namespaces and waits for it. Its error means that
// there are no namespaces to be had.
func enter() (int, error) {
	// The parent-death signal is sent when the *thread* that forked ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	cmd := again(stageInit)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS | syscall.CLONE_NEWPID |
			syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC,
		// Killing PID 1 kills everything in its namespace: this is what leaves nothing behind.
		Pdeathsig: syscall.SIGKILL,
	}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("cannot make namespaces: %w", err)
	}
	stop := forward(cmd.Process.Pid)
	defer stop()
	_ = cmd.Wait() // the exit code says it all
	return exitCode(cmd.ProcessState.Sys().(syscall.WaitStatus)), nil
}

// again is this program with the same arguments, as another stage.
func again(stage string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = os.Args
	cmd.Env = append(os.Environ(), stageVar+"="+stage)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd
}

// forward passes on the signals that people and go test send.
func forward(pid int) (stop func()) {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGHUP)
	go func() {
		for s := range signals {
			_ = syscall.Kill(pid, s.(syscall.Signal)) // it may be gone already
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
	}
}

// exitCode is the code a shell would give.
func exitCode(ws syscall.WaitStatus) int {
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}
