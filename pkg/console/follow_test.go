package console

import (
	"context"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/fault"
)

func follow(ctx context.Context, log *machineLog, out io.Writer, stopped <-chan struct{}) <-chan error {
	done := make(chan error, 1)
	go func() {
		done <- Follow(ctx, FollowOptions{Read: log.read, Out: out, Stopped: stopped, Interval: time.Millisecond})
	}()
	return done
}

func TestLogsOnce(t *testing.T) {
	t.Parallel()
	log, out := &machineLog{}, &buffer{}
	log.add("boot\r\n\x1b[31mlogin: \x1b]0;x\a")
	require.NoError(t, <-follow(t.Context(), log, out, nil))
	assert.Equal(t, "boot\nlogin: ", out.String())
}

func TestFollowUntilStopped(t *testing.T) {
	t.Parallel()
	log, out, stopped := &machineLog{}, &buffer{}, make(chan struct{})
	log.add("one\n")
	done := follow(t.Context(), log, out, stopped)
	out.await(t, "one\n")
	log.add("two\x1b[3")
	out.await(t, "two")
	log.add("1m red\n")
	out.await(t, "two red\n")
	log.add("last words\n")
	close(stopped)
	require.NoError(t, <-done)
	assert.Equal(t, "one\ntwo red\nlast words\n", out.String())
}

func TestFollowSeesTheNextBoot(t *testing.T) {
	t.Parallel()
	for name, second := range map[string]string{
		"shorter":                 "second boot\n",
		"longer":                  "second boot, " + strings.Repeat("long ", 100) + "\n",
		"shorter than the anchor": "2\n",
	} {
		log, out, stopped := &machineLog{}, &buffer{}, make(chan struct{})
		first := "first boot " + strings.Repeat("x", 80) + "\n"
		log.add(first)
		done := follow(t.Context(), log, out, stopped)
		out.await(t, first)
		log.set(second, nil)
		out.await(t, second)
		close(stopped)
		require.NoError(t, <-done, name)
		assert.Equal(t, first+second, out.String(), name)
	}
}

func TestFollowEnds(t *testing.T) {
	t.Parallel()
	log, out := &machineLog{}, &buffer{}
	log.set("", fault.New(fault.NotFound, "no log"))
	require.True(t, fault.Is(<-follow(t.Context(), log, out, nil), fault.NotFound))

	log.set("text\n", nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := follow(ctx, log, out, make(chan struct{}))
	out.await(t, "text")
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)

	done = follow(t.Context(), log, out, make(chan struct{}))
	out.await(t, "text\ntext")
	log.set("", fault.New(fault.NotFound, "no log"))
	require.NoError(t, <-done, "the machine was taken down")

	log.set("text\n", nil)
	done = follow(t.Context(), log, out, make(chan struct{}))
	out.await(t, "text\ntext\ntext")
	log.set("", fault.New(fault.Unreachable, "gone"))
	require.True(t, fault.Is(<-done, fault.Unreachable))

	r, w, err := os.Pipe()
	require.NoError(t, err)
	require.NoError(t, r.Close())
	log.set("text\n", nil)
	require.NoError(t, <-follow(t.Context(), log, w, nil), "nobody reads")
	w.Close()
}

// asideLog is a log that is put aside, and what was put aside of it, the newest first.
type asideLog struct {
	mu     sync.Mutex
	pieces []string
	// opened is called when a piece was opened, once.
	opened func(at int)
}

func (l *asideLog) at(at int) ReadLog {
	return func(_ context.Context, offset int64) (io.ReadCloser, error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if at >= len(l.pieces) {
			return nil, fault.New(fault.NotFound, "no piece %d", at)
		}
		text := l.pieces[at][min(int(offset), len(l.pieces[at])):]
		if do := l.opened; do != nil {
			l.mu.Unlock()
			do(at)
			l.mu.Lock()
		}
		return io.NopCloser(strings.NewReader(text)), nil
	}
}

func (l *asideLog) aside(context.Context) (all []ReadLog, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for at := 1; at < len(l.pieces); at++ {
		all = append(all, l.at(at))
	}
	return all, nil
}

// put writes to the log, and puts it aside then.
func (l *asideLog) put(text string, aside bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pieces[0] += text
	if aside {
		l.pieces = append([]string{""}, l.pieces...)
	}
}

func TestLogsThatWerePutAside(t *testing.T) {
	t.Parallel()
	log, out := &asideLog{pieces: []string{"three\n", "two, cut in a\x1b[3", "one\n"}}, &buffer{}
	log.pieces[0] = "1m word\n" + log.pieces[0]
	require.NoError(t, Follow(t.Context(), FollowOptions{Read: log.at(0), Aside: log.aside, Out: out}))
	assert.Equal(t, "one\ntwo, cut in a word\nthree\n", out.String())
}

// TestNoPieceIsMissed puts the log aside whenever a piece of it was opened.
func TestNoPieceIsMissed(t *testing.T) {
	t.Parallel()
	for n := 1; ; n++ {
		log, out := &asideLog{pieces: []string{"three\n", "two\n", "one\n"}}, &buffer{}
		count, stopped := 0, make(chan struct{})
		log.opened = func(int) {
			if count++; count == n {
				log.put("more\n", true)
				log.put("last\n", false)
				close(stopped)
			}
		}
		done := make(chan error, 1)
		go func() {
			done <- Follow(t.Context(), FollowOptions{Read: log.at(0), Aside: log.aside, Out: out, Stopped: stopped, Interval: time.Millisecond})
		}()
		if n > 12 {
			close(stopped)
			require.NoError(t, <-done)
			require.Less(t, count, n, "as often as pieces are opened")
			return
		}
		require.NoError(t, <-done)
		assert.Equal(t, "one\ntwo\nthree\nmore\nlast\n", out.String(), "opened %d", n)
	}
}

func TestFollowReadsOnInWhatWasPutAside(t *testing.T) {
	t.Parallel()
	log, out, stopped := &asideLog{pieces: []string{""}}, &buffer{}, make(chan struct{})
	log.put("one\n", false)
	done := make(chan error, 1)
	go func() {
		done <- Follow(t.Context(), FollowOptions{Read: log.at(0), Aside: log.aside, Out: out, Stopped: stopped, Interval: time.Millisecond})
	}()
	out.await(t, "one\n")
	log.mu.Lock()
	log.pieces = []string{"four\n", "three\n", log.pieces[0] + "two\n"}
	log.mu.Unlock()
	out.await(t, "four\n")
	log.mu.Lock()
	log.pieces = []string{"another boot\n"}
	log.mu.Unlock()
	out.await(t, "another boot\n")
	close(stopped)
	require.NoError(t, <-done)
	assert.Equal(t, "one\ntwo\nthree\nfour\nanother boot\n", out.String())
}
