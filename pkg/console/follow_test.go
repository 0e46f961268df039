package console

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

func following(ctx context.Context, log engine.LogFiles, out io.Writer, stopped <-chan struct{}) <-chan error {
	done := make(chan error, 1)
	go func() {
		done <- Follow(ctx, FollowOptions{Log: engine.NewConsoleLog(log, "example"), Out: out, Stopped: stopped, Interval: time.Millisecond})
	}()
	return done
}

func TestLogsOnce(t *testing.T) {
	t.Parallel()
	log, out := &machineLog{}, &buffer{}
	log.add("boot\r\n\x1b[31mlogin: \x1b]0;x\a")
	require.NoError(t, <-following(t.Context(), log, out, nil))
	assert.Equal(t, "boot\nlogin: ", out.String())
}

func TestFollowUntilStopped(t *testing.T) {
	t.Parallel()
	log, out, stopped := &machineLog{}, &buffer{}, make(chan struct{})
	log.add("one\n")
	done := following(t.Context(), log, out, stopped)
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
		done := following(t.Context(), log, out, stopped)
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
	log.set("text\n", nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := following(ctx, log, out, make(chan struct{}))
	out.await(t, "text")
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)

	done = following(t.Context(), log, out, make(chan struct{}))
	out.await(t, "text\ntext")
	log.set("", fault.New(fault.Unreachable, "gone"))
	require.True(t, fault.Is(<-done, fault.Unreachable))

	r, w, err := os.Pipe()
	require.NoError(t, err)
	require.NoError(t, r.Close())
	log.set("text\n", nil)
	require.NoError(t, <-following(t.Context(), log, w, nil), "nobody reads")
	w.Close()
}

// asideLog is a log that is put aside, and what was put aside of it, the newest first.
type asideLog struct {
	mu     sync.Mutex
	pieces []string
	// opened is called when a piece was opened, once.
	opened func(at int)
}

func (l *asideLog) ReadLog(_ context.Context, name string, offset int64) (io.ReadCloser, error) {
	at := 0
	if _, number, _ := strings.Cut(name, ".log."); number != "" {
		at, _ = strconv.Atoi(number)
		at++
	}
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

func (l *asideLog) ListVolumes(_ context.Context, name string) (all []engine.Volume, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for at, text := range l.pieces {
		v := engine.Volume{Name: name, Length: spec.Size(len(text))}
		if at > 0 {
			v.Name = fmt.Sprintf("%s.%d", name, at-1)
		}
		all = append(all, v)
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
	require.NoError(t, <-following(t.Context(), log, out, nil))
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
		done := following(t.Context(), log, out, stopped)
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

// The last lines are printed without reading all there is, and what comes after them is, too.
func TestLastLines(t *testing.T) {
	t.Parallel()
	long := strings.Repeat(strings.Repeat("x", 99)+"\r\n", 20000)
	for _, c := range []struct {
		text  string
		lines int
		want  string
		most  int
	}{
		{"one\r\ntwo\r\n\x1b[31mlogin: ", 2, "two\nlogin: ", 100},
		{"one\r\ntwo\r\n", 1, "two\n", 100},
		{"one\r\ntwo\r\n", 7, "one\ntwo\n", 100},
		{"one\r\ntwo\r\n", -1, "", 100},
		{"", 3, "", 0},
		{long + "end", 2, strings.Repeat("x", 99) + "\nend", firstLook},
		{long + "end", 1001, strings.Repeat(strings.Repeat("x", 99)+"\n", 1000) + "end", 9 * firstLook},
	} {
		log, out, stopped := &machineLog{}, &buffer{}, make(chan struct{})
		log.add(c.text)
		require.NoError(t, Follow(t.Context(), FollowOptions{Log: engine.NewConsoleLog(log, "example"), Out: out, Lines: c.lines}))
		assert.Equal(t, c.want, out.String(), "%d of %.20q", c.lines, c.text)
		assert.LessOrEqual(t, log.given, c.most+2*64, "no more is read")
		if c.want == "" {
			continue // nothing shows when it has begun
		}
		out = &buffer{}
		done := make(chan error, 1)
		go func() {
			done <- Follow(t.Context(), FollowOptions{
				Log: engine.NewConsoleLog(log, "example"), Out: out, Lines: c.lines, Stopped: stopped, Interval: time.Millisecond,
			})
		}()
		out.await(t, c.want)
		log.add("more\n")
		close(stopped)
		require.NoError(t, <-done)
		assert.True(t, strings.HasSuffix(out.String(), "more\n"))
	}
}

// A replay is the end of all of it, whichever file that is in, and the log goes on from there.
func TestReplayReachesIntoWhatWasPutAside(t *testing.T) {
	t.Parallel()
	log := &asideLog{pieces: []string{"seven\n", "four\nfive\nsix\n", "one\ntwo\nthree\n"}}
	for last, want := range map[int64]string{
		1: "\n", 6: "seven\n", 7: "\nseven\n", 10: "six\nseven\n", 20: "four\nfive\nsix\nseven\n", 26: "three\nfour\nfive\nsix\nseven\n",
		34: "one\ntwo\nthree\nfour\nfive\nsix\nseven\n", engine.Whole: "one\ntwo\nthree\nfour\nfive\nsix\nseven\n",
	} {
		var out strings.Builder
		reader := engine.NewConsoleLog(log, "example")
		require.NoError(t, reader.Replay(t.Context(), &out, last))
		assert.Equal(t, want, out.String(), last)
		more, err := reader.Next(t.Context(), &out, engine.Whole)
		require.NoError(t, err)
		assert.False(t, more, last)
	}
	// What comes is given in portions, also over the end of a file.
	reader, out := engine.NewConsoleLog(log, "example"), &strings.Builder{}
	require.NoError(t, reader.Replay(t.Context(), io.Discard, 3))
	log.put("eight\n", true)
	log.put("nine\n", true)
	log.put("ten\n", false)
	for n := 1; ; n++ {
		more, err := reader.Next(t.Context(), out, 4)
		require.NoError(t, err)
		require.LessOrEqual(t, out.Len(), n*4)
		if !more {
			break
		}
	}
	assert.Equal(t, "eight\nnine\nten\n", out.String())
}

func TestFollowReadsOnInWhatWasPutAside(t *testing.T) {
	t.Parallel()
	log, out, stopped := &asideLog{pieces: []string{""}}, &buffer{}, make(chan struct{})
	log.put("one\n", false)
	done := following(t.Context(), log, out, stopped)
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
