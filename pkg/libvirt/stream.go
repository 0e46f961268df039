package libvirt

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	golibvirt "libvirt.org/go/libvirt"

	"vmctl/pkg/fault"
)

const (
	// readAhead is how much a stream buffers before it stops asking for more.
	readAhead = 1 << 20
	// maxSend bounds one send, so that Close never waits for a large one.
	maxSend = 256 << 10
	// closeGrace is how long Close waits for a host that does not answer; the rest
	// then happens in the background.
	closeGrace = 2 * time.Second
)

const (
	readable = golibvirt.STREAM_EVENT_READABLE
	writable = golibvirt.STREAM_EVENT_WRITABLE
	ended    = golibvirt.STREAM_EVENT_ERROR | golibvirt.STREAM_EVENT_HANGUP
)

// stream makes a non-blocking libvirt stream an io.ReadWriteCloser. libvirt's event
// loop fills a buffer; nothing of it ever blocks in C, so that Close always unblocks
// Read and Write, whatever the host does. A lost connection ends it, too.
type stream struct {
	c       *conn
	release func()
	s       *golibvirt.Stream
	// why makes the error that Read gives of the one that ended the stream.
	why func(error) error

	mu     sync.Mutex
	moved  *sync.Cond
	buffer []byte
	// chunk is what one call receives into: a serial console has thousands of events a second.
	chunk  []byte
	events golibvirt.StreamEventType
	// end is why nothing more comes in; io.EOF when all came.
	end    error
	closed bool
	done   chan struct{}
}

// openStream makes a stream and gives it to attach, which connects it to something.
func openStream(ctx context.Context, c *conn, doing string, why func(error) error, attach func(*golibvirt.Connect, *golibvirt.Stream) error) (io.ReadWriteCloser, error) {
	l, release, err := c.hold()
	if err != nil {
		return nil, err
	}
	opened := make(chan *stream, 1)
	_, err = call(ctx, c, changeGrace, doing, func(*golibvirt.Connect) (nothing, error) {
		s, err := l.NewStream(golibvirt.STREAM_NONBLOCK)
		if err != nil {
			return nothing{}, err
		}
		if err := attach(l, s); err != nil {
			_ = s.Free()
			return nothing{}, err
		}
		st := &stream{c: c, release: release, s: s, why: why, done: make(chan struct{}), events: readable | ended}
		st.moved = sync.NewCond(&st.mu)
		if err := s.EventAddCallback(st.events, st.event); err != nil {
			_ = s.Abort()
			_ = s.Free()
			return nothing{}, err
		}
		// Asking to be told of a lost connection is a call, too: it belongs here, where ctx bounds it.
		c.broken(l)
		opened <- st
		if ctx.Err() != nil {
			// Nobody takes it any more, unless the caller is still within its grace.
			return nothing{}, cut(ctx, doing)
		}
		return nothing{}, nil
	})
	if err != nil {
		select {
		case st := <-opened:
			_ = st.Close()
		default:
			release()
		}
		return nil, err
	}
	st := <-opened
	go st.watch(c.broken(l))
	return st, nil
}

// watch ends the stream when the connection is lost.
func (st *stream) watch(lost <-chan struct{}) {
	select {
	case <-st.done:
	case <-lost:
		st.mu.Lock()
		defer st.mu.Unlock()
		st.finish(fault.New(fault.Unreachable, "the connection to %s was lost", st.c.uri))
	}
}

// event runs in the event loop's thread.
func (st *stream) event(_ *golibvirt.Stream, events golibvirt.StreamEventType) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.closed {
		return
	}
	if events&(readable|ended) != 0 {
		st.receive(events&ended != 0)
	}
	if events&writable != 0 {
		st.want(st.events &^ writable)
	}
	if events&ended != 0 {
		st.finish(io.EOF)
	}
	st.moved.Broadcast()
}

// receive takes what is there, up to readAhead, or all of it from a stream that ends.
func (st *stream) receive(all bool) {
	if st.chunk == nil {
		st.chunk = make([]byte, 64<<10)
	}
	for st.end == nil {
		if len(st.buffer) >= readAhead && !all {
			st.want(st.events &^ readable)
			return
		}
		n, err := st.s.Recv(st.chunk)
		switch {
		case err != nil:
			st.finish(err)
			return
		case n < 0:
			return
		}
		st.c.pulse.hear()
		st.buffer = append(st.buffer, st.chunk[:n]...)
	}
}

// finish notes why nothing more comes; the first reason counts.
func (st *stream) finish(err error) {
	if st.end == nil {
		st.end = err
	}
	st.want(0)
	st.moved.Broadcast()
}

func (st *stream) want(events golibvirt.StreamEventType) {
	if st.closed || st.events == events {
		return
	}
	st.events = events
	// A stream that is gone refuses; the event of its end tells.
	_ = st.s.EventUpdateCallback(events)
}

// Read gives what came in, and blocks while nothing did.
func (st *stream) Read(p []byte) (int, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	for len(st.buffer) == 0 {
		if end, over := st.over(io.EOF); over {
			return 0, end
		}
		st.moved.Wait()
	}
	n := copy(p, st.buffer)
	st.buffer = st.buffer[n:]
	if len(st.buffer) == 0 {
		st.buffer = nil
	}
	if st.end == nil && len(st.buffer) < readAhead/2 {
		st.want(st.events | readable)
	}
	return n, nil
}

// over says whether the stream has ended, and by what. done stands for a proper end.
// It lets go of the lock meanwhile, because the reason may have to be asked for.
func (st *stream) over(done error) (error, bool) {
	end := st.end
	switch {
	case st.closed:
		return os.ErrClosed, true
	case end == nil:
		return nil, false
	case !errors.Is(end, io.EOF):
		st.mu.Unlock()
		end = st.why(end)
		st.mu.Lock()
	}
	if errors.Is(end, io.EOF) {
		end = done
	}
	return end, true
}

// Write sends all of p, and blocks while the host does not take it.
func (st *stream) Write(p []byte) (int, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	sent := 0
	for sent < len(p) {
		if end, over := st.over(io.ErrClosedPipe); over {
			return sent, end
		}
		n, err := st.s.Send(p[sent:min(len(p), sent+maxSend)])
		switch {
		case err != nil:
			st.finish(err)
		case n < 0:
			st.want(st.events | writable)
			st.moved.Wait()
		default:
			sent += n
		}
	}
	return sent, nil
}

// Close ends the stream and unblocks Read and Write. It waits for the host to have
// let go, so that the next viewer is not refused, but not for long.
func (st *stream) Close() error {
	st.mu.Lock()
	if st.closed {
		st.mu.Unlock()
		return nil
	}
	st.closed = true
	complete := errors.Is(st.end, io.EOF)
	st.moved.Broadcast()
	st.mu.Unlock()
	close(st.done)

	timer := time.NewTimer(closeGrace)
	defer timer.Stop()
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		defer st.release()
		inLoop(nil, func() { _ = st.s.EventRemoveCallback() })
		if complete {
			_ = st.s.Finish()
		} else {
			_ = st.s.Abort()
		}
		_ = st.s.Free()
	}()
	select {
	case <-finished:
	case <-timer.C:
	}
	return nil
}
