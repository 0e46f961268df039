package ui

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/progress"
)

// tell is a run with everything in it, for the displays without a screen.
func tell(p Progress) {
	time.Sleep(500 * time.Millisecond) // never at the same moment as a tick
	p.Emit(progress.Event{ID: "example/build", Text: "build images/example", Detail: "evaluating"})
	p.Emit(progress.Event{ID: "tiny/build", Status: progress.Skipped, Text: "build images/tiny", Detail: "up to date"})
	p.Emit(progress.Event{ID: "tiny", Status: progress.Note, Text: "KVM cannot be used here\x1b]0;title\x07, so machines run slowly"})
	p.Emit(progress.Event{ID: "example/build", Status: progress.Log, Text: "a raw\rline <&> \u009b31m"})
	for i := range int64(40) {
		time.Sleep(5 * time.Second)
		p.Emit(progress.Event{ID: "example/build", Current: i, Total: 40, Detail: "linux"})
	}
	p.Emit(progress.Event{ID: "example/build", Status: progress.Done, Detail: "nix-wxyz"})
	p.Emit(progress.Event{ID: "example/upload", Text: "upload base", Unit: progress.Bytes, Total: 1 << 30})
	for i := range int64(60) {
		time.Sleep(time.Second)
		p.Emit(progress.Event{ID: "example/upload", Unit: progress.Bytes, Current: i * 10 << 20, Total: 1 << 30})
	}
	time.Sleep(3 * time.Minute) // a stall
	p.Emit(progress.Event{ID: "example/upload", Status: progress.Failed, Err: errors.New("no space left")})
	p.Emit(progress.Event{ID: "example/undo", Text: "unfinished"})
	p.Close()
	p.Emit(progress.Event{ID: "late", Text: "too late"})
	p.Close()
}

func TestPlainAndJSONGolden(t *testing.T) {
	for name, mode := range map[string]Mode{"plain": ModeAuto, "json": ModeJSON, "quiet": ModeQuiet} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, out, errs := pipes()
				tell(NewProgress(s, mode, true))
				golden(t, "progress-"+name+".txt", errs.String())
				assert.Empty(t, out.String(), "standard output is for results")
				assert.NotContains(t, errs.String(), "\x1b")
				assert.NotContains(t, errs.String(), "\u009b")
			})
		})
	}
}

// TestJSONTellsCountsNowAndThen: a script that keeps them is not drowned in them.
func TestJSONTellsCountsNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, errs := pipes()
		p := NewProgress(s, ModeJSON, false)
		for i := range int64(1000) {
			p.Emit(progress.Event{ID: "upload", Unit: progress.Bytes, Current: i, Total: 1000})
			time.Sleep(time.Millisecond)
		}
		p.Emit(progress.Event{ID: "upload", Unit: progress.Bytes, Current: 1000, Total: 1000, Detail: "another step"})
		p.Emit(progress.Event{ID: "upload", Status: progress.Done, Unit: progress.Bytes, Current: 1000, Total: 1000})
		p.Close()
		assert.Len(t, strings.Split(strings.TrimSpace(errs.String()), "\n"), 10+2)
	})
}

func TestJSONLinesAreObjects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, errs := pipes()
		tell(NewProgress(s, ModeJSON, false))
		for line := range strings.Lines(errs.String()) {
			var got map[string]Record
			require.NoError(t, json.Unmarshal([]byte(line), &got), line)
			assert.NotEmpty(t, got["progress"].Status)
			assert.NotEqual(t, "log", got["progress"].Status)
		}
	})
}

func TestPlainOnATerminalWaitsWhilePaused(t *testing.T) {
	for _, mode := range []Mode{ModePlain, ModeJSON} {
		s, _, errs := terminal(80)
		p := NewProgress(s, mode, false)
		p.Pause()
		p.Emit(progress.Event{ID: "a", Text: "held back"})
		assert.Empty(t, errs.String())
		p.Close()
		assert.Contains(t, errs.String(), "held back")
	}
}

func TestAutoMode(t *testing.T) {
	s, _, _ := terminal(80)
	s.Dumb = true
	p := NewProgress(s, ModeAuto, false)
	defer p.Close()
	assert.IsType(t, &lines{}, p)
}

func TestParseMode(t *testing.T) {
	for word, want := range map[string]Mode{
		"": ModeAuto, "auto": ModeAuto, "tty": ModeTTY, "plain": ModePlain, "json": ModeJSON, "quiet": ModeQuiet,
	} {
		got, err := ParseMode(word)
		require.NoError(t, err)
		assert.Equal(t, want, got, word)
	}
	_, err := ParseMode("TTY")
	assert.EqualError(t, err, `"TTY" is no way to show progress`)
}
