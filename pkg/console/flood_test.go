package console

import (
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
)

// flood is a guest that prints without end, until it is closed.
type flood struct {
	text string
	at   int
	once sync.Once
	done chan struct{}
}

func newFlood(text string) *flood {
	return &flood{text: strings.Repeat(text, 4096/len(text)), done: make(chan struct{})}
}

func (f *flood) Read(p []byte) (int, error) {
	select {
	case <-f.done:
		return 0, errors.New("closed")
	default:
	}
	n := 0
	for n < len(p) {
		k := copy(p[n:], f.text[f.at:])
		n, f.at = n+k, (f.at+k)%len(f.text)
	}
	return n, nil
}

func (f *flood) Write(p []byte) (int, error) { return len(p), nil }

func (f *flood) Close() error {
	f.once.Do(func() { close(f.done) })
	return nil
}

// floodLog is the log of such a guest.
type floodLog struct{ io.ReadCloser }

func (l floodLog) ListVolumes(context.Context, string) ([]engine.Volume, error) { return nil, nil }

func (l floodLog) ReadLog(context.Context, string, int64) (io.ReadCloser, error) { return l, nil }

// measured counts what is written, notes the heap now and then, and ends it at a limit.
type measured struct {
	mu             sync.Mutex
	written, limit int
	heap           uint64
	stop           func()
}

func (m *measured) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	const each = 2 << 20
	if before := m.written; (before+len(p))/each != before/each {
		m.heap = max(m.heap, heap())
	}
	if m.written += len(p); m.written >= m.limit {
		m.stop()
	}
	return len(p), nil
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A guest that prints without end takes no more memory than one that prints a line, on a
// console and in a log, whether there are line ends in it or not.
func TestAFloodTakesNoMemory(t *testing.T) {
	const limit, room = 6 << 20, 4 << 20
	for name, text := range map[string]string{
		"lines":             "all work and no play\r\n",
		"one line":          "x",
		"half of sequences": "xxxxxxxxxxxxxxxxxxxxxxxxxxxx\x1b[\x1b]52;c;ZXZpbA==\x07\u202e\xff",
	} {
		t.Run("console, "+name, func(t *testing.T) {
			before := heap()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			out := &measured{limit: limit, stop: cancel}
			reason, err := Run(ctx, Options{
				Machine: "example", In: strings.NewReader(""), Out: out,
				Open: func(context.Context) (io.ReadWriteCloser, error) { return newFlood(text), nil },
			})
			require.Error(t, err)
			assert.Equal(t, Interrupted, reason)
			assert.GreaterOrEqual(t, out.written, limit)
			assert.Less(t, out.heap, before+room)
		})
		t.Run("log, "+name, func(t *testing.T) {
			before := heap()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			out := &measured{limit: limit, stop: cancel}
			err := Follow(ctx, FollowOptions{
				Out: out, Log: engine.NewConsoleLog(floodLog{newFlood(text)}, "example"),
			})
			require.ErrorIs(t, err, context.Canceled)
			assert.GreaterOrEqual(t, out.written, limit)
			assert.Less(t, out.heap, before+room)
		})
	}
	// What a console printed before is shown again, and no more of it than fits.
	before := heap()
	t.Run("replay", func(t *testing.T) {
		log := io.LimitReader(newFlood("x"), 64<<20)
		got := replay(t.Context(), engine.NewConsoleLog(floodLog{io.NopCloser(log)}, "example"))
		assert.LessOrEqual(t, len(got), replayLimit)
		assert.Less(t, heap(), before+room)
	})
}
