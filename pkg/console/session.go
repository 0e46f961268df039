package console

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"vmctl/pkg/ansi"
	"vmctl/pkg/fault"
)

const (
	// burst is how much is sent at once: less than any guest's line buffer.
	burst = 256
	// readSize is more than a terminal ever gives at once.
	readSize = 4096
	// leaveStall is how long a guest that takes no input may hold up the escape key;
	// pipeStall how long it may hold up a pipe.
	leaveStall = time.Second
	pipeStall  = 30 * time.Second
	// lastWords is how long after a failed write the stream may still say why.
	lastWords = 500 * time.Millisecond
	// settleTime bounds the wait for a reader of the output that stalls.
	settleTime = time.Second
)

// outcome is how one side of the session ended.
type outcome struct {
	reason Reason
	err    error
}

// panicError carries a panic to the goroutine that restores the terminal.
type panicError struct {
	value any
	stack []byte
}

func (p *panicError) Error() string { return fmt.Sprintf("%v\n\n%s", p.value, p.stack) }

type chunk struct {
	data []byte
	err  error
}

// session is the two directions of an attached console. Input must not hold up
// output, nor output the escape key, so each step has a goroutine of its own:
// keys → queue → stream, and stream → arrivals → Out.
type session struct {
	o        Options
	stream   io.ReadWriteCloser
	filter   *ansi.Filter
	terminal bool

	queue    chan []byte
	arrivals chan chunk
	// typed tells the end of the input, sent that all of it went out, shown the end
	// of the output, active that something was shown.
	typed    chan Reason
	sent     chan error
	shown    chan outcome
	active   chan struct{}
	panics   chan *panicError
	panicked *panicError

	// moved counts bytes sent; busy says that a write is under way.
	moved atomic.Int64
	busy  atomic.Bool

	// reading is the input goroutine, working are the others.
	reading, working sync.WaitGroup
	showing          chan struct{}
}

func newSession(o Options, t *terminal, stream io.ReadWriteCloser) *session {
	// A terminal's queue is long, so that the escape key is found behind a paste to a
	// guest that takes nothing; a pipe can wait.
	length := 16
	if t.raw() {
		length = 1024
	}
	return &session{
		o: o, stream: stream, filter: newFilter(t, o.Out), terminal: t.raw(),
		queue: make(chan []byte, length), arrivals: make(chan chunk),
		typed: make(chan Reason, 1), sent: make(chan error, 1), shown: make(chan outcome, 1),
		active: make(chan struct{}, 1), panics: make(chan *panicError, 4), showing: make(chan struct{}),
	}
}

func (s *session) start(ctx context.Context, in io.Reader, before []byte) {
	s.spawn(&s.reading, func() { s.read(ctx, in) })
	s.spawn(&s.working, func() { s.send(ctx) })
	s.spawn(&s.working, func() { s.receive(ctx) })
	s.spawn(&s.working, func() {
		defer close(s.showing)
		s.shown <- s.show(ctx, before)
	})
}

func (s *session) spawn(group *sync.WaitGroup, f func()) {
	group.Go(func() {
		defer func() {
			if v := recover(); v != nil {
				s.panics <- &panicError{v, debug.Stack()}
			}
		}()
		f()
	})
}

// read takes input up to its end, or up to the escape byte of a terminal.
func (s *session) read(ctx context.Context, in io.Reader) {
	defer close(s.queue)
	for {
		buf := make([]byte, readSize)
		n, err := in.Read(buf)
		data := buf[:n]
		escape := -1
		if s.terminal {
			escape = bytes.IndexByte(data, s.o.Escape)
		}
		if escape >= 0 {
			data = data[:escape]
		}
		if len(data) > 0 {
			select {
			case s.queue <- data:
			case <-ctx.Done():
				return
			}
		}
		switch {
		case escape >= 0:
			s.typed <- Left
			return
		case errors.Is(err, errWoken):
			return
		case err != nil:
			s.typed <- InputEnded
			return
		}
	}
}

// send writes what was queued, no faster than the guest can take it.
func (s *session) send(ctx context.Context) {
	for data := range s.queue {
		for len(data) > 0 {
			piece := data[:min(burst, len(data))]
			s.busy.Store(true)
			n, err := s.stream.Write(piece)
			s.busy.Store(false)
			if err == nil && n < len(piece) {
				err = io.ErrShortWrite
			}
			if err != nil {
				s.sent <- err
				return
			}
			s.moved.Add(int64(n))
			data = data[n:]
			if len(data) > 0 || len(s.queue) > 0 {
				pause := time.NewTimer(time.Duration(n) * time.Second / time.Duration(s.o.Rate))
				select {
				case <-pause.C:
				case <-ctx.Done():
					pause.Stop()
					return
				}
			}
		}
	}
	s.sent <- nil
}

// receive reads the stream, so that joining can watch for silence.
func (s *session) receive(ctx context.Context) {
	for {
		buf := make([]byte, 16<<10)
		n, err := s.stream.Read(buf)
		select {
		case s.arrivals <- chunk{buf[:n], err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// show prints what came before, then what comes.
func (s *session) show(ctx context.Context, before []byte) outcome {
	if err := s.print(before); err != nil {
		return *err
	}
	j := join{log: s.o.Log, before: before, arrivals: s.arrivals}
	window, first, skip, end := j.run(ctx)
	if err := s.print(window); err != nil {
		return *err
	}
	if s.terminal {
		// Else nobody would read what the terminal answers, and it would end up in the shell.
		s.filter.GoLive()
	}
	next := chunk{first, end}
	for {
		drop := min(skip, len(next.data))
		skip -= drop
		if err := s.print(next.data[drop:]); err != nil {
			return *err
		}
		switch {
		case errors.Is(next.err, io.EOF):
			_ = s.filter.Flush()
			return outcome{reason: Stopped}
		case next.err != nil:
			_ = s.filter.Flush()
			return outcome{Disconnected, disconnected(s.o.Machine, next.err)}
		}
		select {
		case next = <-s.arrivals:
		case <-ctx.Done():
			_ = s.filter.Flush()
			return outcome{reason: Interrupted}
		}
	}
}

func (s *session) print(data []byte) *outcome {
	if len(data) == 0 {
		return nil
	}
	if _, err := s.filter.Write(data); err != nil {
		if isClosedPipe(err) {
			return &outcome{reason: OutputClosed}
		}
		return &outcome{Disconnected, fault.New(fault.Other, "the output of %s could not be written: %w", s.o.Machine, err)}
	}
	select {
	case s.active <- struct{}{}:
	default:
	}
	return nil
}

// wait decides when the session is over.
func (s *session) wait(ctx context.Context) (Reason, error) {
	tick := time.NewTicker(leaveStall / 4)
	defer tick.Stop()
	var (
		typed  Reason // Failed while input goes on
		quiet  <-chan time.Time
		failed error
		words  <-chan time.Time
		moved  int64
		since  = time.Now()
	)
	for {
		select {
		case <-ctx.Done():
			return Interrupted, interrupted(ctx, s.o.Machine)
		case s.panicked = <-s.panics:
			return Failed, s.panicked
		case end := <-s.shown:
			if end.reason == Interrupted {
				return end.reason, interrupted(ctx, s.o.Machine)
			}
			return end.reason, end.err
		case typed = <-s.typed:
			since = time.Now()
		case err := <-s.sent:
			if err != nil {
				failed, words = err, time.After(lastWords)
				continue
			}
			switch typed = s.inputEnd(ctx, typed); typed {
			case Left:
				return Left, nil
			case Interrupted:
				return Interrupted, interrupted(ctx, s.o.Machine)
			}
			quiet = time.After(s.o.Quiet)
		case <-words:
			return Disconnected, disconnected(s.o.Machine, failed)
		case <-s.active:
			if quiet != nil {
				quiet = time.After(s.o.Quiet)
			}
		case <-quiet:
			return InputEnded, nil
		case <-tick.C:
			if now := s.moved.Load(); now != moved || !s.busy.Load() {
				moved, since = now, time.Now()
			}
			switch stalled := time.Since(since); {
			case typed == Left && stalled >= leaveStall:
				return Left, nil
			case !s.terminal && stalled >= pipeStall:
				return InputEnded, fault.New(fault.Timeout, "%s takes no input: %d bytes were sent, then nothing for %s", s.o.Machine, moved, pipeStall)
			}
		}
	}
}

// inputEnd is how the input ended, of which all was sent. An input that was given up
// when ctx ended tells nothing.
func (s *session) inputEnd(ctx context.Context, typed Reason) Reason {
	if typed != Failed {
		return typed
	}
	select {
	case end := <-s.typed:
		return end
	case <-ctx.Done():
		return Interrupted
	}
}

// stop closes the stream, which ends what reads and writes it. A stream that does
// not close must not keep the terminal raw.
func (s *session) stop(closeStream func() error) {
	s.spawn(&s.working, func() { _ = closeStream() })
}

// settle waits for the goroutines, and reports whether the output is at rest. A
// reader of the output that stalls does not hold up the person for long.
func (s *session) settle(reader bool) bool {
	done := make(chan struct{})
	go func() {
		s.working.Wait()
		if reader {
			s.reading.Wait()
		}
		close(done)
	}()
	limit := time.NewTimer(settleTime)
	defer limit.Stop()
	select {
	case <-done:
	case <-limit.C:
	}
	select {
	case p := <-s.panics:
		if s.panicked == nil {
			s.panicked = p
		}
	default:
	}
	select {
	case <-s.showing:
		return true
	default:
		return false
	}
}
