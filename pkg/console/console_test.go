package console

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"vmctl/pkg/ansi"
	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const deadline = 20 * time.Second

// buffer is a bytes.Buffer for two goroutines.
type buffer struct {
	mu   sync.Mutex
	data bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.data.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.data.String()
}

func (b *buffer) await(t *testing.T, text string) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Contains(b.String(), text) }, deadline, time.Millisecond, "%q", text)
}

// guest is the machine's end of a serial line in memory.
type guest struct {
	fromGuest, toGuest   *io.PipeReader
	guestWrite, hostSend *io.PipeWriter
	panics               atomic.Bool
	got                  buffer
	reading              sync.WaitGroup
}

func newGuest() *guest {
	g := &guest{}
	g.fromGuest, g.guestWrite = io.Pipe()
	g.toGuest, g.hostSend = io.Pipe()
	return g
}

// listen takes what is typed.
func (g *guest) listen(t *testing.T) {
	g.reading.Go(func() { _, _ = io.Copy(&g.got, g.toGuest) })
	t.Cleanup(func() { g.toGuest.Close(); g.reading.Wait() })
}

// heard is all that was typed, once nothing more can come.
func (g *guest) heard() string {
	g.reading.Wait()
	return g.got.String()
}

func (g *guest) Read(p []byte) (int, error) {
	if g.panics.Load() {
		panic("boom")
	}
	return g.fromGuest.Read(p)
}

func (g *guest) Write(p []byte) (int, error) { return g.hostSend.Write(p) }

func (g *guest) Close() error {
	g.fromGuest.CloseWithError(errClosed)
	g.hostSend.CloseWithError(errClosed)
	g.toGuest.CloseWithError(errClosed)
	g.guestWrite.CloseWithError(errClosed)
	return nil
}

var errClosed = errors.New("closed by us")

func (g *guest) say(t *testing.T, text string) {
	t.Helper()
	_, err := io.WriteString(g.guestWrite, text)
	require.NoError(t, err)
}

func (g *guest) open(context.Context) (io.ReadWriteCloser, error) { return g, nil }

// screen is a terminal with a person in front of it.
type screen struct {
	keys, tty *os.File
	seen      buffer
	before    *unix.Termios
	reading   sync.WaitGroup
}

func newScreen(t *testing.T) *screen {
	keys, tty, err := pty.Open()
	require.NoError(t, err)
	s := &screen{keys: keys, tty: tty}
	s.before = s.mode(t)
	s.reading.Go(func() { _, _ = io.Copy(&s.seen, keys) })
	t.Cleanup(func() { tty.Close(); s.reading.Wait(); keys.Close() })
	return s
}

func (s *screen) mode(t *testing.T) *unix.Termios {
	mode, err := unix.IoctlGetTermios(int(s.tty.Fd()), unix.TCGETS)
	require.NoError(t, err)
	return mode
}

func (s *screen) press(t *testing.T, keys string) {
	t.Helper()
	_, err := io.WriteString(s.keys, keys)
	require.NoError(t, err)
}

func (s *screen) isRaw(t *testing.T) bool {
	return s.mode(t).Lflag&(unix.ICANON|unix.ECHO|unix.ISIG) == 0
}

type result struct {
	reason   Reason
	err      error
	panicked any
}

func start(ctx context.Context, o Options) <-chan result {
	done := make(chan result, 1)
	go func() {
		var r result
		defer func() {
			r.panicked = recover()
			done <- r
		}()
		r.reason, r.err = Run(ctx, o)
	}()
	return done
}

func finish(t *testing.T, done <-chan result) result {
	t.Helper()
	select {
	case r := <-done:
		return r
	case <-time.After(deadline):
		require.FailNow(t, "the console did not end")
		return result{}
	}
}

func TestEveryWayOutRestoresTheTerminal(t *testing.T) {
	for name, c := range map[string]struct {
		end    func(t *testing.T, g *guest, s *screen, cancel func())
		reason Reason
		err    string
		panics bool
	}{
		"escape": {end: func(t *testing.T, _ *guest, s *screen, _ func()) { s.press(t, "\x1d") }, reason: Left},
		"cancel": {end: func(_ *testing.T, _ *guest, _ *screen, cancel func()) { cancel() }, reason: Interrupted, err: "interrupted"},
		"stop":   {end: func(_ *testing.T, g *guest, _ *screen, _ func()) { g.guestWrite.Close() }, reason: Stopped},
		"broken": {end: func(_ *testing.T, g *guest, _ *screen, _ func()) { g.guestWrite.CloseWithError(syscall.ECONNRESET) }, reason: Disconnected, err: "broke"},
		"panic":  {end: func(t *testing.T, g *guest, _ *screen, _ func()) { g.panics.Store(true); g.say(t, "x") }, panics: true},
		"write error": {end: func(t *testing.T, g *guest, s *screen, _ func()) {
			g.toGuest.CloseWithError(syscall.EPIPE)
			s.press(t, "x")
		}, reason: Disconnected, err: "broke"},
		"stuck guest": {end: func(t *testing.T, _ *guest, s *screen, _ func()) { s.press(t, "never taken\x1d") }, reason: Left},
	} {
		t.Run(name, func(t *testing.T) {
			g, s := newGuest(), newScreen(t)
			var notice buffer
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := start(ctx, Options{Machine: "example", Open: g.open, In: s.tty, Out: s.tty, Notice: &notice})
			g.say(t, "\x1b[?1049h\x1b[?25llogin: ")
			s.seen.await(t, "login: ")
			require.True(t, s.isRaw(t))
			assert.Equal(t, "connected to example; leave with Ctrl-]\r\n", notice.String())
			c.end(t, g, s, cancel)
			r := finish(t, done)
			assert.Equal(t, s.before, s.mode(t))
			s.seen.await(t, "\x1b[?1049l"+ansi.Reset)
			if c.panics {
				require.NotNil(t, r.panicked)
				assert.Contains(t, r.panicked.(error).Error(), "boom")
				return
			}
			require.Nil(t, r.panicked)
			assert.Equal(t, c.reason, r.reason)
			if c.err == "" {
				require.NoError(t, r.err)
			} else {
				require.ErrorContains(t, r.err, c.err)
			}
			switch c.reason {
			case Stopped:
				assert.Contains(t, notice.String(), "\nexample has stopped\n")
			case Left:
				assert.Contains(t, notice.String(), "\nleft example\n")
			}
		})
	}
}

func TestOpenFailsBeforeAnythingIsTouched(t *testing.T) {
	s := newScreen(t)
	busy := fault.New(fault.Refused, "somebody else is attached")
	var notice buffer
	reason, err := Run(t.Context(), Options{
		Open: func(context.Context) (io.ReadWriteCloser, error) { return nil, busy },
		In:   s.tty, Out: s.tty, Notice: &notice,
	})
	require.ErrorIs(t, err, busy)
	assert.Equal(t, Failed, reason)
	assert.Equal(t, s.before, s.mode(t))
	assert.Empty(t, notice.String())
	assert.Empty(t, s.seen.String())
}

func TestOnlyWhatWasTypedBeforeTheEscapeIsSent(t *testing.T) {
	g, s := newGuest(), newScreen(t)
	g.listen(t)
	done := start(t.Context(), Options{Machine: "example", Open: g.open, In: s.tty, Out: s.tty})
	require.Eventually(t, func() bool { return s.isRaw(t) }, deadline, time.Millisecond)
	s.press(t, "ls\r\x03\x1a\x00ü\x1dafter")
	assert.Equal(t, Left, finish(t, done).reason)
	assert.Equal(t, "ls\r\x03\x1a\x00ü", g.heard())
	// What follows in the terminal is the shell's: nothing is left reading it.
	s.press(t, "shell\n")
	line := make([]byte, 64)
	n, err := s.tty.Read(line)
	require.NoError(t, err)
	assert.Equal(t, "shell\n", string(line[:n]))
}

func TestLargePasteArrivesWhole(t *testing.T) {
	g, s := newGuest(), newScreen(t)
	g.listen(t)
	done := start(t.Context(), Options{Machine: "example", Open: g.open, In: s.tty, Out: s.tty, Rate: 1 << 30})
	require.Eventually(t, func() bool { return s.isRaw(t) }, deadline, time.Millisecond)
	var paste strings.Builder
	for i := range 20000 {
		fmt.Fprintf(&paste, "grüße %d\r", i)
	}
	s.press(t, paste.String()+"\x1d")
	assert.Equal(t, Left, finish(t, done).reason)
	assert.Equal(t, paste.String(), g.heard())
}

func TestResizeChangesNothing(t *testing.T) {
	g, s := newGuest(), newScreen(t)
	g.listen(t)
	done := start(t.Context(), Options{Machine: "example", Open: g.open, In: s.tty, Out: s.tty})
	g.say(t, "one ")
	s.seen.await(t, "one ")
	require.NoError(t, pty.Setsize(s.keys, &pty.Winsize{Rows: 10, Cols: 20}))
	g.say(t, "two")
	s.seen.await(t, "one two")
	s.press(t, "x\x1d")
	assert.Equal(t, Left, finish(t, done).reason)
	assert.Equal(t, "x", g.heard())
}

func pipes(t *testing.T) (r, w *os.File) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

func TestPipeIsSentAndAnswered(t *testing.T) {
	g := newGuest()
	in, w := pipes(t)
	var out, notice buffer
	done := start(t.Context(), Options{Machine: "example", Open: g.open, In: in, Out: &out, Notice: &notice, Quiet: 300 * time.Millisecond, Rate: 1 << 30})
	binary := bytes.Repeat([]byte("\x1d\x00\xff\x1b[6n\r\n"), 10000)
	go func() {
		_, _ = w.Write(binary)
		w.Close()
	}()
	got := make([]byte, len(binary))
	_, err := io.ReadFull(g.toGuest, got)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(binary, got), "a pipe has no escape byte")
	for i := range 5 {
		g.say(t, fmt.Sprintf("answer %d\x1b[6n\r\n", i))
	}
	r := finish(t, done)
	require.NoError(t, r.err)
	assert.Equal(t, InputEnded, r.reason)
	assert.Equal(t, "answer 0\nanswer 1\nanswer 2\nanswer 3\nanswer 4\n", out.String())
	assert.Empty(t, notice.String())
}

func TestStopInAPipe(t *testing.T) {
	g := newGuest()
	in, _ := pipes(t)
	var out, notice buffer
	done := start(t.Context(), Options{Machine: "example", Open: g.open, In: in, Out: &out, Notice: &notice})
	g.say(t, "Power down")
	g.guestWrite.Close()
	assert.Equal(t, Stopped, finish(t, done).reason)
	assert.Equal(t, "Power down", out.String())
	assert.Equal(t, "example has stopped\n", notice.String())
}

func TestClosedOutputEndsQuietly(t *testing.T) {
	g := newGuest()
	in, _ := pipes(t)
	r, w := pipes(t)
	require.NoError(t, r.Close())
	done := start(t.Context(), Options{Machine: "example", Open: g.open, In: in, Out: w})
	g.say(t, "text")
	end := finish(t, done)
	require.NoError(t, end.err)
	assert.Equal(t, OutputClosed, end.reason)
}

func TestStalledOutputDoesNotHoldUpTheEscape(t *testing.T) {
	g, s := newGuest(), newScreen(t)
	r, w := pipes(t)
	done := start(t.Context(), Options{Machine: "example", Open: g.open, In: s.tty, Out: w})
	flood := make(chan error, 1)
	go func() {
		_, err := g.guestWrite.Write(bytes.Repeat([]byte("x\n"), 128<<10))
		flood <- err
	}()
	// The pipe is full when it takes no more.
	require.Eventually(t, func() bool {
		fds := []unix.PollFd{{Fd: int32(w.Fd()), Events: unix.POLLOUT}}
		n, err := unix.Poll(fds, 0)
		return err == nil && n == 0
	}, deadline, time.Millisecond)
	require.Eventually(t, func() bool { return s.isRaw(t) }, deadline, time.Millisecond)
	s.press(t, "\x1d")
	assert.Equal(t, Left, finish(t, done).reason)
	require.Error(t, <-flood)
	assert.Equal(t, s.before, s.mode(t))
	require.NoError(t, r.Close()) // lets the stalled write end
}

func TestTerminalKeepsNewLinesWhenTheOutputGoesElsewhere(t *testing.T) {
	g, s := newGuest(), newScreen(t)
	var out buffer
	done := start(t.Context(), Options{Machine: "example", Open: g.open, In: s.tty, Out: &out})
	require.Eventually(t, func() bool { return s.isRaw(t) && s.mode(t).Oflag&unix.OPOST != 0 }, deadline, time.Millisecond)
	g.say(t, "\x1b[31mred")
	out.await(t, "red")
	s.press(t, "\x1d")
	finish(t, done)
	assert.Equal(t, "red", out.String())
	assert.Equal(t, s.before, s.mode(t))
}

func TestHostileOutputIsFiltered(t *testing.T) {
	g, s := newGuest(), newScreen(t)
	log := &machineLog{}
	log.add("old\x1b[6n\x1b]52;c;aGk=\a ")
	done := start(t.Context(), Options{Machine: "example", Open: g.open, Log: engine.NewConsoleLog(log, "example"), In: s.tty, Out: s.tty})
	s.seen.await(t, "old ")
	// Everything from here on is live: questions pass, the clipboard does not.
	g.say(t, "new\x1b[6n\x1b]52;c;aGk=\a\x1b]0;t\a.")
	s.seen.await(t, "new\x1b[6n.")
	s.press(t, "\x1d")
	finish(t, done)
	assert.Equal(t, 1, strings.Count(s.seen.String(), "\x1b[6n"))
	assert.NotContains(t, s.seen.String(), "\x1b]")
}

func TestKeyName(t *testing.T) {
	assert.Equal(t, "Ctrl-]", keyName(DefaultEscape))
	assert.Equal(t, "Ctrl-A", keyName(1))
	assert.Equal(t, `'~'`, keyName('~'))
}
