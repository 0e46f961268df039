package console

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// machineLog is a console log that grows.
type machineLog struct {
	mu   sync.Mutex
	data []byte
	err  error
	// given is how much was read of it.
	given int
}

func (l *machineLog) add(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.data = append(l.data, text...)
}

func (l *machineLog) set(text string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.data, l.err = []byte(text), err
}

func (l *machineLog) ListVolumes(_ context.Context, name string) ([]engine.Volume, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if fault.Is(l.err, fault.NotFound) {
		return nil, nil
	}
	return []engine.Volume{{Name: name, Length: spec.Size(len(l.data))}}, l.err
}

func (l *machineLog) ReadLog(_ context.Context, _ string, offset int64) (io.ReadCloser, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return nil, l.err
	}
	if offset > int64(len(l.data)) {
		return nil, fault.New(fault.Other, "offset behind the end")
	}
	l.given += len(l.data[offset:])
	return io.NopCloser(bytes.NewReader(bytes.Clone(l.data[offset:]))), nil
}

func TestOverlap(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		window, stream string
		level          bool
		want           int
	}{
		{"", "", true, 0},
		{"abc", "", true, 0},
		{"", "abc", true, 0},
		{"abc", "xyz", true, 0},
		{"abc", "bc", true, 2},
		{"abc", "abc", true, 3},
		{"abc", "bcdef", false, 2},
		{"abc", "abcdef", false, 3},
		{"abcdef", "cd", false, 4},        // the stream is late: cdef is still to come
		{"aaaa", "aa", true, 2},           // level lengths decide
		{"aaaa", "aa", false, 4},          // else the longest
		{"login: ", "login: x", false, 7}, //
		{"x\nx\nlogin: ", "x\nlogin: ", true, 9},
	} {
		assert.Equal(t, c.want, overlap([]byte(c.window), []byte(c.stream), c.level), "%q %q %v", c.window, c.stream, c.level)
	}
}

// What an earlier viewer left unread comes first, and there may be a gap behind it.
func TestLeftover(t *testing.T) {
	before := []byte("one two three four five six seven eight nine ten ")
	window := []byte("eleven twelve thirteen fourteen ")
	for _, c := range []struct {
		what, window, stream string
		level                bool
		want                 int
	}{
		{"nothing new", "", "four five six seven ", true, 20},
		{"little, and nothing new", "", "six ", true, 4},
		{"then all that is new", string(window), "four five six seven eleven twelve thirteen fourteen ", true, 52},
		{"then the end of what is new", string(window), "four five six seven thirteen fourteen ", true, 38},
		{"then more than the log has yet", string(window), "four five six seven thirteen fourteen fifteen ", false, 38},
		{"little, then all that is new", string(window), "six eleven twelve thirteen fourteen ", true, 36},
		{"little, then more than the log has yet", string(window), "six eleven twelve thirteen fourteen fifteen ", false, 36},
		{"with a gap in what is new", string(window), "eleven twelve thir fourteen ", true, 28},
		{"nothing is left over", string(window), "thirteen fourteen ", true, 18},
		{"a new word that was said before", string(window), "fourteen six ", false, 9},
		{"an unknown word", "", "xyz", true, 0},
	} {
		assert.Equal(t, c.want, known(before, []byte(c.window), []byte(c.stream), c.level), c.what)
	}
	assert.Zero(t, known(nil, nil, []byte("x"), true))
}

// Whatever the guest repeats, a level join is exact; and one with text in which no
// two places are alike is exact always, whichever of log and stream is ahead.
func TestOverlapIsExact(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3000) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		repeated := make([]byte, 1+rnd.IntN(200))
		for i := range repeated {
			repeated[i] = "ab\n"[rnd.IntN(1+rnd.IntN(3))]
		}
		from := rnd.IntN(len(repeated) + 1)
		begin := from + rnd.IntN(len(repeated)-from+1)
		require.Equal(t, len(repeated)-begin, overlap(repeated[from:], repeated[begin:], true), "seed %d", seed)

		var unique []byte
		for i := range 40 {
			unique = fmt.Appendf(unique, "[%4d.%06d] line\r\n", i, rnd.IntN(1000000))
		}
		from = rnd.IntN(len(unique) / 2)
		end := from + rnd.IntN(len(unique)-from) + 1
		begin = from + rnd.IntN(end-from)
		arrived := min(len(unique), begin+40+rnd.IntN(len(unique)))
		require.Equal(t, end-begin, overlap(unique[from:end], unique[begin:arrived], false), "seed %d", seed)
	}
}

// TestNothingIsLostOrDoubled runs whole sessions in which the guest prints before,
// while and after somebody attaches.
func TestNothingIsLostOrDoubled(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(seed, 1))
			word := func() string {
				if seed%3 == 0 {
					return "again and again\n" // content alone cannot tell
				}
				return fmt.Sprintf("line %d\n", rnd.IntN(1e9))
			}
			var all strings.Builder
			log, g := &machineLog{}, newGuest()
			missed := func(n int) {
				for range n {
					w := word()
					all.WriteString(w)
					log.add(w)
				}
			}
			missed(rnd.IntN(20))
			in, _ := pipes(t)
			var out buffer
			attached := make(chan struct{})
			done := start(t.Context(), Options{
				Machine: "example", Log: engine.NewConsoleLog(log, "example"), In: in, Out: &out,
				Open: func(context.Context) (io.ReadWriteCloser, error) {
					missed(rnd.IntN(5)) // printed while nobody was attached yet
					close(attached)
					return g, nil
				},
			})
			<-attached
			for range rnd.IntN(60) {
				w := word()
				all.WriteString(w)
				for rest := w; rest != ""; {
					n := 1 + rnd.IntN(len(rest))
					// The log and the stream get it in either order.
					if rnd.IntN(2) == 0 {
						log.add(rest[:n])
						g.say(t, rest[:n])
					} else {
						g.say(t, rest[:n])
						log.add(rest[:n])
					}
					rest = rest[n:]
				}
			}
			want := all.String()
			out.await(t, want)
			g.guestWrite.Close()
			require.Equal(t, Stopped, finish(t, done).reason)
			assert.Equal(t, want, out.String())
		})
	}
}

func TestLogThatCannotBeReadIsNoObstacle(t *testing.T) {
	g := newGuest()
	log := &machineLog{err: fault.New(fault.Other, "it cannot be read")}
	in, _ := pipes(t)
	var out buffer
	done := start(t.Context(), Options{Machine: "example", Open: g.open, Log: engine.NewConsoleLog(log, "example"), In: in, Out: &out})
	g.say(t, "live")
	out.await(t, "live")
	g.guestWrite.Close()
	assert.Equal(t, Stopped, finish(t, done).reason)
}

func TestReplayIsBounded(t *testing.T) {
	t.Parallel()
	log := &machineLog{}
	line := strings.Repeat("x", 99) + "\n"
	log.add(strings.Repeat(line, 50000) + "tail")
	got := replay(t.Context(), engine.NewConsoleLog(log, "example"))
	assert.LessOrEqual(t, len(got), replayLimit)
	assert.Greater(t, len(got), replayLimit-100)
	assert.True(t, bytes.HasPrefix(got, []byte(line)))
	assert.True(t, bytes.HasSuffix(got, []byte("\ntail")))
	assert.Less(t, log.given, 2*replayLimit, "no more than that comes over the line")
	assert.Empty(t, replay(t.Context(), nil))
}

func FuzzOverlap(f *testing.F) {
	f.Add([]byte("abcabc"), []byte("abcab"), true)
	f.Fuzz(func(t *testing.T, window, stream []byte, level bool) {
		n := overlap(window, stream, level)
		require.LessOrEqual(t, n, len(window))
		both := min(n, len(stream))
		require.Equal(t, window[len(window)-n:][:both], stream[:both])
	})
}

// The input is given up when the context ends, and its end is not told then.
func TestAnInterruptionIsNotWaitedOver(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 64 { // select takes either
		s := newSession(Options{Machine: "example", Out: io.Discard}, &terminal{}, nil)
		s.sent <- nil
		reason, err := s.wait(ctx)
		require.Error(t, err)
		require.Equal(t, Interrupted, reason)
	}
}
