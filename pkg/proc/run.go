package proc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// drainGrace is how long output may stay open after the program has ended, held by
// a process it left behind.
const drainGrace = 2 * time.Second

// Run starts the program and waits until it has ended. When ctx ends first, the
// program's process group gets SIGINT and, after Cmd.Grace, SIGKILL. Every error
// is an *Error.
//
// The program runs in a session of its own, so a Ctrl-C at the terminal reaches
// only us, and nothing it starts (ssh, git) can stop to ask at the terminal: it
// fails with a message instead. When we die, it gets SIGTERM.
func Run(ctx context.Context, c Cmd) (Result, error) {
	failure := &Error{Argv: c.Argv(), ExitCode: -1}
	if ctx.Err() != nil {
		failure.Err = stopped(ctx)
		return Result{}, failure
	}
	env := environ(os.Environ(), c.Env)
	path, err := lookPath(c.Path, env)
	if err != nil {
		failure.Err = err
		return Result{}, failure
	}
	cmd := exec.Command(path, c.Args...) //nolint:noctx // stop does what the context asks, for the whole group
	cmd.Args[0], cmd.Env, cmd.Dir = c.Path, env, c.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGTERM}

	// The kernel sends Pdeathsig when the thread that forked ends, so it must live as
	// long as the child (golang.org/issue/27505).
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	out := newOutput(c)
	if err := out.start(cmd, c); err != nil {
		failure.Err = err
		return Result{}, failure
	}
	c.Limits.impose(cmd.Process.Pid)
	interrupted := wait(ctx, cmd, graceOf(c))
	err = cmd.Wait()
	out.drain()

	res := Result{Stdout: out.stdout.buf, Stderr: out.stderr.String()}
	failure.Stderr = res.Stderr
	if state := cmd.ProcessState; state != nil {
		failure.ExitCode = state.ExitCode()
		if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			failure.Signal = status.Signal()
		}
	}
	var exit *exec.ExitError
	switch {
	case interrupted:
		failure.Err = stopped(ctx)
	case out.broken != nil:
		failure.Err = out.broken
	case errors.As(err, &exit):
	case err != nil:
		failure.Err = err
	case out.stdout.over:
		failure.Err = fmt.Errorf("%w: over %d bytes", ErrTooMuchOutput, out.stdout.max)
	default:
		return res, nil
	}
	return Result{}, failure
}

func graceOf(c Cmd) time.Duration {
	if c.Grace > 0 {
		return c.Grace
	}
	return defaultGrace
}

// stopped is why ctx ended: it matches ctx.Err() and the cause both.
func stopped(ctx context.Context) error {
	if cause := context.Cause(ctx); !errors.Is(cause, ctx.Err()) {
		return fmt.Errorf("%w: %w", ctx.Err(), cause)
	}
	return ctx.Err()
}

// wait returns when the program has ended, without reaping it: until then its
// group's number cannot be given to anybody else, so that signals hit the right
// processes. It reports whether ctx made it stop.
func wait(ctx context.Context, cmd *exec.Cmd, grace time.Duration) bool {
	pid := cmd.Process.Pid
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			if err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil); !errors.Is(err, unix.EINTR) {
				return
			}
		}
	}()
	select {
	case <-ended:
		return false
	case <-ctx.Done():
	}
	_ = unix.Kill(-pid, unix.SIGINT)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
	}
	// Whatever the leader left behind goes too.
	_ = unix.Kill(-pid, unix.SIGKILL)
	<-ended
	return true
}

// output reads what the child writes, and writes what it reads.
type output struct {
	stdout head
	stderr tail
	sinks  [2]io.Writer
	flush  []func()
	pipes  []*os.File
	done   sync.WaitGroup
	// broken is why Cmd.StdoutTo did not get everything.
	broken error
}

func newOutput(c Cmd) *output {
	o := &output{stdout: head{max: defaultMaxStdout}, stderr: tail{max: stderrTail}}
	if c.MaxStdout > 0 {
		o.stdout.max = c.MaxStdout
	}
	var calls sync.Mutex
	lines := func(callback func(string)) io.Writer {
		s := &splitter{max: c.MaxLine, cr: c.SplitCR, emit: func(line string) {
			calls.Lock()
			defer calls.Unlock()
			callback(line)
		}}
		if s.max <= 0 {
			s.max = defaultMaxLine
		}
		o.flush = append(o.flush, s.flush)
		return s
	}
	o.sinks = [2]io.Writer{&o.stdout, &o.stderr}
	switch {
	case c.StdoutTo != nil:
		o.sinks[0] = c.StdoutTo
	case c.OnStdout != nil:
		o.sinks[0] = lines(c.OnStdout)
	}
	if c.OnStderr != nil {
		o.sinks[1] = io.MultiWriter(&o.stderr, lines(c.OnStderr))
	}
	return o
}

// start makes the pipes and starts the program. Pipes of our own instead of
// os/exec's: a process left behind can hold them open, and then drain gives up.
func (o *output) start(cmd *exec.Cmd, c Cmd) (err error) {
	stdin := c.Stdin
	var theirs []*os.File
	defer func() {
		for _, f := range theirs {
			_ = f.Close()
		}
		if err != nil {
			for _, f := range o.pipes {
				_ = f.Close()
			}
		}
	}()
	pipe := func() (r, w *os.File) {
		if err == nil {
			r, w, err = os.Pipe()
		}
		return r, w
	}
	outR, outW := pipe()
	errR, errW := pipe()
	var inR, inW *os.File
	if stdin != nil {
		inR, inW = pipe()
	}
	for _, f := range []*os.File{outW, errW, inR} {
		if f != nil {
			theirs = append(theirs, f)
		}
	}
	for _, f := range []*os.File{outR, errR, inW} {
		if f != nil {
			o.pipes = append(o.pipes, f)
		}
	}
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = outW, errW
	switch {
	case inR != nil:
		cmd.Stdin = inR
	case c.StdinFile != nil:
		cmd.Stdin = c.StdinFile
	}
	if err = cmd.Start(); err != nil {
		return err
	}
	for i, r := range []*os.File{outR, errR} {
		o.done.Go(func() {
			_, err := io.Copy(o.sinks[i], r)
			if err != nil && i == 0 && c.StdoutTo != nil {
				o.broken = err
				_ = r.Close() // the program must not wait for a reader for ever
			}
		})
	}
	if inW != nil {
		o.done.Go(func() {
			_, _ = inW.Write(stdin)
			_ = inW.Close()
		})
	}
	return nil
}

// drain waits for the rest of the output, but not for ever.
func (o *output) drain() {
	deadline := time.Now().Add(drainGrace)
	for _, f := range o.pipes {
		_ = f.SetDeadline(deadline)
	}
	o.done.Wait()
	for _, flush := range o.flush {
		flush()
	}
	for _, f := range o.pipes {
		_ = f.Close()
	}
}
