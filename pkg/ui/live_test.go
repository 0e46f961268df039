package ui

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/progress"
)

func onScreen(vt *screen) *Streams {
	s := Fixed(strings.NewReader(""), io.Discard, vt, vt.columns)
	s.size = vt.size
	return s
}

// pass lets virtual time go by (the test runs in a synctest bubble).
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// story is an up of two machines, told through shots of the screen.
func story(vt *screen, p Progress) string {
	var b strings.Builder
	shot := func(title string) { fmt.Fprintf(&b, "=== %s\n%s", title, vt) }
	p.Emit(progress.Event{ID: "example/build", Text: "build images/example"})
	p.Emit(progress.Event{ID: "tiny/build", Text: "build images/tiny", Detail: "evaluating"})
	pass(150 * time.Millisecond)
	shot("two tasks begin")

	p.Emit(progress.Event{
		ID: "example/build", Detail: "linux-6.6.54: unpacking \x1b[31m/nix/store/\x1b[0m\nsource\ttree",
		Current: 3, Total: 12,
	})
	p.Emit(progress.Event{ID: "tiny/build", Status: progress.Skipped, Detail: "up to date"})
	p.Emit(progress.Event{
		ID: "tiny", Status: progress.Note,
		Text: "KVM cannot be used here (permission denied on /dev/kvm), so machines run in software and slowly",
	})
	p.Emit(progress.Event{ID: "example/build", Status: progress.Log, Text: "building '/nix/store/…-linux-6.6.54.drv'"})
	pass(12 * time.Second)
	shot("one has nothing to do, a note, a log line")

	p.Emit(progress.Event{ID: "example/build", Status: progress.Done, Detail: "nix-wxyz"})
	p.Emit(progress.Event{ID: "example/upload", Text: "upload base-nix-wxyz.qcow2", Unit: progress.Bytes, Total: 310 << 20})
	for i := range int64(31) {
		p.Emit(progress.Event{
			ID: "example/upload", Text: "upload base-nix-wxyz.qcow2", Detail: "to the pool 東京 of a host é́",
			Unit: progress.Bytes, Current: i << 20 * 5, Total: 310 << 20,
		})
		pass(100 * time.Millisecond)
	}
	shot("an upload with rate and time left")

	p.Emit(progress.Event{ID: "example/upload", Status: progress.Failed, Err: errors.New("no space left")})
	p.Emit(progress.Event{ID: "example/wait", Text: "wait for example"})
	pass(63 * time.Second)
	shot("a failure, and something long")

	p.Close()
	shot("closed")
	return b.String()
}

func TestLiveGolden(t *testing.T) {
	for _, columns := range []int{12, 40, 80, 120} {
		t.Run(fmt.Sprint(columns), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				vt := newScreen(columns, 24)
				got := story(vt, NewProgress(onScreen(vt), ModeAuto, true))
				assert.Empty(t, vt.mistakes)
				golden(t, fmt.Sprintf("live-%d.txt", columns), got)
			})
		})
	}
	t.Run("ascii", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			vt := newScreen(80, 24)
			s := onScreen(vt)
			s.UTF8 = false
			golden(t, "live-ascii.txt", story(vt, NewProgress(s, ModeTTY, false)))
		})
	})
	t.Run("colour changes no character", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			plainVT, colorVT := newScreen(40, 24), newScreen(40, 24)
			s := onScreen(colorVT)
			s.ErrColor = true
			want := story(plainVT, NewProgress(onScreen(plainVT), ModeTTY, true))
			assert.Equal(t, want, story(colorVT, NewProgress(s, ModeTTY, true)))
		})
	})
}

func TestLiveNeverWraps(t *testing.T) {
	for _, columns := range []int{1, 2, 3, 4, 5, 6, 8, 13, 21, 30, 31, 50, 67} {
		synctest.Test(t, func(t *testing.T) {
			vt := newScreen(columns, 10)
			story(vt, NewProgress(onScreen(vt), ModeTTY, true))
			if columns > 2 { // a character of two cells cannot fit into fewer
				assert.Empty(t, vt.mistakes, "columns %d", columns)
			}
		})
	}
}

func TestLiveMoreTasksThanLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		vt := newScreen(40, 5)
		p := NewProgress(onScreen(vt), ModeTTY, false)
		for i := range 9 {
			p.Emit(progress.Event{ID: fmt.Sprint(i), Text: fmt.Sprintf("task %d", i)})
		}
		pass(time.Second)
		assert.Contains(t, vt.String(), "and 6 more")
		for i := range 9 {
			p.Emit(progress.Event{ID: fmt.Sprint(i), Status: progress.Done})
			pass(time.Second)
		}
		p.Close()
		assert.Empty(t, vt.mistakes)
		assert.Equal(t, 9, strings.Count(vt.String(), "✓ task"))
		assert.NotContains(t, vt.String(), "more")
	})
}

func TestLiveResize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		vt := newScreen(80, 24)
		p := NewProgress(onScreen(vt), ModeTTY, false)
		detail := strings.Repeat("detail ", 20)
		p.Emit(progress.Event{ID: "a", Text: "first", Detail: detail})
		p.Emit(progress.Event{ID: "b", Text: "second", Detail: detail})
		pass(time.Second)
		for _, columns := range []int{30, 100, 17, 80} {
			vt.resize(columns)
			pass(time.Second)
			assert.Equal(t, 1, strings.Count(vt.String(), "first"), "%d columns:\n%s", columns, vt)
			assert.Equal(t, 1, strings.Count(vt.String(), "second"), "%d columns:\n%s", columns, vt)
		}
		p.Close()
		assert.Equal(t, "\n[cursor shown at line 0 column 0]\n", vt.String())
	})
}

func TestLivePause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		vt := newScreen(60, 24)
		p := NewProgress(onScreen(vt), ModeTTY, false)
		p.Emit(progress.Event{ID: "wait", Text: "wait for example"})
		pass(time.Second)
		p.Pause()
		p.Pause()
		assert.Equal(t, "\n[cursor shown at line 0 column 0]\n", vt.String())
		before := vt.writes
		p.Emit(progress.Event{ID: "note", Status: progress.Note, Text: "example is ready"})
		pass(time.Minute)
		assert.Equal(t, before, vt.writes, "the terminal belongs to somebody else")

		p.Resume()
		p.Resume()
		pass(time.Second)
		assert.Contains(t, vt.String(), "! example is ready\n")
		assert.Contains(t, vt.String(), "wait for example  1m02s")
		p.Pause()
		p.Close()
		p.Resume()
		p.Emit(progress.Event{ID: "late", Text: "too late"})
		assert.NotContains(t, vt.String(), "wait")
	})
}

func TestLiveShowsWhatEndedBeforeTheFirstFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		vt := newScreen(60, 24)
		p := NewProgress(onScreen(vt), ModeTTY, false)
		p.Emit(progress.Event{ID: "a", Text: "observe"})
		p.Emit(progress.Event{ID: "a", Status: progress.Done})
		p.Emit(progress.Event{ID: "b", Text: "unfinished"})
		p.Close()
		p.Close()
		assert.Equal(t, "✓ observe\n\n[cursor shown at line 1 column 0]\n", vt.String())
		assert.Equal(t, 1, vt.writes)
	})
}

func TestLiveThrottles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		vt := newScreen(60, 24)
		p := NewProgress(onScreen(vt), ModeTTY, false)
		for i := range int64(10000) {
			p.Emit(progress.Event{ID: "a", Text: "count", Current: i, Total: 10000})
			time.Sleep(100 * time.Microsecond)
		}
		p.Close()
		assert.LessOrEqual(t, vt.writes, 11)
	})
}

func TestLiveStoppedTerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pr, pw := io.Pipe() // a write waits until somebody reads
		s := Fixed(strings.NewReader(""), io.Discard, pw, 80)
		p := NewProgress(s, ModeTTY, true)
		p.Emit(progress.Event{ID: "a", Text: "task"})
		pass(time.Second)
		for range mostEnded + 5 {
			p.Emit(progress.Event{Status: progress.Log, Text: "line"})
		}
		p.Emit(progress.Event{ID: "a", Status: progress.Done})
		shown := make(chan string)
		go func() {
			all, _ := io.ReadAll(pr)
			shown <- string(all)
		}()
		p.Close()
		require.NoError(t, pw.Close())
		assert.Contains(t, <-shown, "5 lines left out")
	})
}

func TestProgressConcurrently(t *testing.T) {
	for _, mode := range []Mode{ModeTTY, ModePlain, ModeJSON, ModeQuiet} {
		vt := newScreen(80, 24)
		p := NewProgress(onScreen(vt), mode, true)
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				for i := range 200 {
					id := fmt.Sprintf("%d/%d", g, i)
					p.Emit(progress.Event{ID: id, Text: id})
					p.Emit(progress.Event{Status: progress.Log, Text: "x"})
					if i%50 == 0 {
						p.Pause()
						p.Resume()
					}
					p.Emit(progress.Event{ID: id, Status: progress.Done})
				}
			})
		}
		wg.Go(p.Close)
		wg.Wait()
		p.Close()
		if mode == ModeTTY { // the others leave carriage returns to the terminal driver
			assert.Empty(t, vt.mistakes)
		}
	}
}
