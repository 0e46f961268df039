package push

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"vmctl/pkg/ansi"
	"vmctl/pkg/delta"
	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/proc"
)

// Remote is a host that is reached by ssh.
type Remote struct {
	// SSH is the command that runs another one on the host, whose words follow it.
	SSH []string
	// Host is the host's name for people.
	Host string
	// Program is the file of this program, which is the one that runs on the host; empty
	// is the one that runs now.
	Program string
	// Log says why something was done in one way and not in another.
	Log *slog.Logger
}

var _ engine.Pusher = (*Remote)(nil)

// greetTime is how long the host may take to run the program, once it has it.
const greetTime = 30 * time.Second

// Prepare implements engine.Pusher.
func (r *Remote) Prepare(ctx context.Context, pool string) engine.Pushing {
	return &pushing{remote: r, pool: pool, next: r.reach(ctx, pool)}
}

// pushing is the way to one pool.
type pushing struct {
	remote *Remote
	pool   string
	// next is the host's end for the next push, if it was prepared.
	next *attempt
}

// Push implements engine.Pushing.
func (p *pushing) Push(ctx context.Context, what engine.Push) error {
	a := p.next
	if p.next = nil; a == nil {
		a = p.remote.reach(ctx, p.pool)
	}
	defer a.end()
	reading := read(ctx, what, a.salt)
	defer reading.end()
	s, err := a.session(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return interrupted(ctx)
		}
		return otherWay(err)
	}
	c := &client{link: s.link, Push: what, reading: reading, hangUp: s.end}
	began := time.Now()
	if err := c.run(ctx); err != nil {
		return p.remote.explain(ctx, s, err)
	}
	p.remote.Log.Debug("pushed by content", "host", p.remote.Host, "volume", what.Volume, "image", what.Size, "sent", c.sent, "took", time.Since(began))
	return nil
}

// End implements engine.Pushing.
func (p *pushing) End() {
	if p.next != nil {
		p.next.end()
	}
}

// attempt is a host's end that is being started.
type attempt struct {
	salt    delta.Salt
	stop    context.CancelFunc
	started chan struct{}
	is      *session
	err     error
}

// reach begins to start the host's end, which then reads what is in a pool.
func (r *Remote) reach(ctx context.Context, pool string) *attempt {
	a := &attempt{started: make(chan struct{})}
	_, _ = rand.Read(a.salt[:]) // never fails
	ctx, a.stop = context.WithCancel(ctx)
	go func() {
		defer close(a.started)
		if a.is, a.err = r.start(ctx); a.err == nil {
			a.err = a.is.sendJSON(frameIndex, index{pool, a.salt})
		}
	}()
	return a
}

// session is the host's end, when it has been started.
func (a *attempt) session(ctx context.Context) (*session, error) {
	select {
	case <-a.started:
		return a.is, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (a *attempt) end() {
	a.stop()
	<-a.started
	if a.is != nil {
		a.is.end()
	}
}

func interrupted(ctx context.Context) error {
	kind, text := fault.Interrupted, "interrupted: did not push the image"
	if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		kind, text = fault.Timeout, "timed out: could not push the image in time"
	}
	return &fault.Error{Kind: kind, Msg: text, Cause: context.Cause(ctx)}
}

func otherWay(err error) error { return fmt.Errorf("%w: %w", engine.ErrOtherWay, err) }

// explain says what an error of a push means for what comes next.
func (r *Remote) explain(ctx context.Context, s *session, err error) error {
	var said failure
	var own ownError
	switch {
	case ctx.Err() != nil:
		return interrupted(ctx)
	case errors.As(err, &own):
		return own.error
	case errors.As(err, &said):
		if said.Reason == noSpace {
			return fault.New(fault.Refused, "cannot push the image: the disk of %s is full (%s)", r.Host, said).
				WithHint("vmctl image prune removes images that nothing uses")
		}
		return otherWay(said)
	}
	// Everything else is the connection's, or the program's that ended there.
	s.end()
	if status := s.status(); status != sshFailed {
		return otherWay(fmt.Errorf("what ran there ended with status %d: %w%s", status, err, s.said()))
	}
	return fault.New(fault.Unreachable, "the ssh connection to %s was lost%s", r.Host, s.said())
}

// sshFailed is ssh's own exit status.
const sshFailed = 255

// session is a program that runs on the host.
type session struct {
	*link
	in, out *os.File
	stop    context.CancelFunc

	done   chan struct{}
	result int
	err    error
	stderr tail
}

// end stops the program and waits for it.
func (s *session) end() {
	_ = s.in.Close()
	s.stop()
	<-s.done
	_ = s.out.Close()
}

// status is how ssh ended.
func (s *session) status() int {
	<-s.done
	if s.err != nil {
		return sshFailed
	}
	return s.result
}

// said is what ssh, or the host's shell, said last, for the end of a sentence.
func (s *session) said() string {
	if text := s.stderr.last(); text != "" {
		return " (" + text + ")"
	}
	return ""
}

// start runs this program on the host.
func (r *Remote) start(ctx context.Context) (*session, error) {
	s, out, err := r.run(ctx)
	if err != nil {
		return nil, err
	}
	own, err := openProgram(r.Program) // while ssh reaches the host
	if err != nil {
		s.end()
		return nil, err
	}
	defer own.close()
	// A host that says nothing is not waited for.
	silent := time.AfterFunc(greetTime, s.end)
	defer silent.Stop()
	stop := context.AfterFunc(ctx, s.end)
	defer stop()
	err = own.install(s.in, out, func() { silent.Reset(10 * time.Minute) }, func() { silent.Reset(greetTime) })
	if err == nil {
		s.link = &link{r: out, w: s.in}
		err = greet(s.link)
	}
	if err != nil {
		s.end()
		return nil, fmt.Errorf("%w%s", err, s.said())
	}
	return s, nil
}

// run starts ssh with a shell.
func (r *Remote) run(ctx context.Context) (*session, *bufio.Reader, error) {
	theirIn, in, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		_, _ = theirIn.Close(), in.Close()
		return nil, nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	widen(in)
	s := &session{in: in, out: out, stop: stop, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		argv := append(append([]string{}, r.SSH...), "sh")
		s.result, s.err = proc.Attach(ctx, proc.Cmd{Path: argv[0], Args: argv[1:], Grace: time.Second}, proc.Streams{In: theirIn, Out: theirOut, Err: &s.stderr})
		// Who reads or writes on our side hears of the end now.
		_, _ = theirIn.Close(), theirOut.Close()
	}()
	return s, bufio.NewReaderSize(out, 64<<10), nil
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	t.text = t.text[max(0, len(t.text)-1000):]
	return len(p), nil
}

// last is the last line, harmless.
func (t *tail) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := bytes.Split(bytes.TrimSpace(t.text), []byte("\n"))
	return ansi.Plain(string(bytes.TrimSpace(lines[len(lines)-1])))
}

var _ io.Writer = (*tail)(nil)
