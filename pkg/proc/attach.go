package proc

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Streams are what an attached program reads and writes. A file is handed over as it
// is, so that a terminal stays one; nil is /dev/null.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Attach runs a program in the foreground, as a shell would: in our own session and
// process group, so that it may use the person's terminal, ask there, and get the keys
// that send signals. It gives the program's exit status, 128 + the signal's number for
// one that a signal ended; the error says that it could not be run or that ctx ended,
// when it is asked to end with SIGTERM.
//
// A program that stops itself, as ssh does on its escape for that, stops us too.
func Attach(ctx context.Context, c Cmd, s Streams) (status int, err error) {
	failure := &Error{Argv: c.Argv(), ExitCode: -1}
	if ctx.Err() != nil {
		failure.Err = stopped(ctx)
		return 0, failure
	}
	env := environ(os.Environ(), c.Env)
	path, err := lookPath(c.Path, env)
	if err != nil {
		failure.Err = err
		return 0, failure
	}
	cmd := exec.Command(path, c.Args...) //nolint:noctx // the end of ctx is dealt with below
	cmd.Args[0], cmd.Env, cmd.Dir = c.Path, env, c.Dir
	cmd.Stdout, cmd.Stderr = s.Out, s.Err
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	// Input that is no file is copied here and not by os/exec, whose Wait would wait for
	// input that never comes.
	var in io.WriteCloser
	if file, ok := s.In.(*os.File); ok || s.In == nil {
		if ok {
			cmd.Stdin = file
		}
	} else if in, err = cmd.StdinPipe(); err != nil {
		failure.Err = err
		return 0, failure
	}
	cmd.WaitDelay = drainGrace

	runtime.LockOSThread() // for Pdeathsig, see Run
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		failure.Err = err
		return 0, failure
	}
	if in != nil {
		go func() {
			_, _ = io.Copy(in, s.In)
			_ = in.Close()
		}()
	}
	interrupted := accompany(ctx, cmd.Process.Pid, graceOf(c))
	err = cmd.Wait()
	if interrupted {
		failure.Err = stopped(ctx)
		return 0, failure
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		failure.Err = err
		return 0, failure
	}
	if wait, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && wait.Signaled() {
		return 128 + int(wait.Signal()), nil
	}
	return cmd.ProcessState.ExitCode(), nil
}

// accompany waits until the program has ended, without reaping it.
func accompany(ctx context.Context, pid int, grace time.Duration) (interrupted bool) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			var info unix.Siginfo
			err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WSTOPPED|unix.WNOWAIT, nil)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil || info.Code != cldStopped {
				return
			}
			// Take note of the stop, stop with it, and go on with it.
			_ = unix.Waitid(unix.P_PID, pid, nil, unix.WSTOPPED|unix.WNOHANG, nil)
			_ = unix.Kill(unix.Getpid(), unix.SIGSTOP)
			_ = unix.Kill(pid, unix.SIGCONT)
		}
	}()
	select {
	case <-ended:
		return false
	case <-ctx.Done():
	}
	// At a terminal it got the same signal as we did; a moment lets it end by itself.
	select {
	case <-ended:
		return true
	case <-time.After(100 * time.Millisecond):
	}
	_ = unix.Kill(pid, unix.SIGTERM)
	select {
	case <-ended:
	case <-time.After(grace):
		_ = unix.Kill(pid, unix.SIGKILL)
		<-ended
	}
	return true
}

// cldStopped is CLD_STOPPED of waitid(2).
const cldStopped = 5
