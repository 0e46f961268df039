package console

import (
	"bytes"
	"context"
	"time"

	"vmctl/pkg/engine"
)

const (
	// replayLimit is how much of the log is shown again: more than what a boot prints, and
	// two seconds of a line of 1 Mbit/s.
	replayLimit = 256 << 10
	// joinQuiet is the silence after which log and stream are taken to be level;
	// joinTime and joinBytes end the wait with a guest that is never silent.
	joinQuiet = 150 * time.Millisecond
	joinTime  = time.Second
	joinBytes = 64 << 10
	// chance is how many bytes may well be the same without being the same output.
	chance = 16
)

// ending keeps the end of what is written to it: replayLimit at most.
type ending struct {
	kept []byte
	cut  bool
}

func (e *ending) Write(p []byte) (int, error) {
	e.kept = append(e.kept, p...)
	if len(e.kept) > 2*replayLimit {
		e.kept, e.cut = append(e.kept[:0], e.kept[len(e.kept)-replayLimit:]...), true
	}
	return len(p), nil
}

// bytes are those that were kept; of what was cut, from a line's beginning on.
func (e *ending) bytes() []byte {
	kept, cut := e.kept, e.cut
	if len(kept) > replayLimit {
		kept, cut = kept[len(kept)-replayLimit:], true
	}
	if i := bytes.IndexByte(kept, '\n'); cut && i >= 0 {
		kept = kept[i+1:]
	}
	return kept
}

// replay is the end of what was printed before. A log that cannot be read is as one that
// is empty: the console works without it.
func replay(ctx context.Context, log *engine.ConsoleLog) []byte {
	if log == nil {
		return nil
	}
	// One byte more shows whether the first line is whole.
	var end ending
	_ = log.Replay(ctx, &end, replayLimit+1)
	return end.bytes()
}

// join finds where in the log the stream began. QEMU throws away what the guest
// prints while nobody is attached, but the log has it; and what is printed just
// after attaching is in both, and may reach either first. What an earlier viewer left
// unread in the pseudo-terminal comes out of the stream before all that.
type join struct {
	// log was read up to the time before attaching; before is its end at that time.
	log      *engine.ConsoleLog
	before   []byte
	arrivals <-chan chunk
}

// run gives what the log got since, the first bytes of the stream, how many bytes
// of the stream to skip because the log had them, and the stream's end if it came.
func (j join) run(ctx context.Context) (window, first []byte, skip int, end error) {
	if j.log == nil {
		return nil, nil, 0, nil
	}
	limit := time.NewTimer(joinTime)
	defer limit.Stop()
	quiet := false
	// collect gathers arrivals until they pause.
	collect := func(pause time.Duration) (came bool) {
		silence := time.NewTimer(pause)
		defer silence.Stop()
		for end == nil && len(first) < joinBytes {
			select {
			case c := <-j.arrivals:
				first, end, came = append(first, c.data...), c.err, true
				silence.Reset(pause)
			case <-silence.C:
				quiet = true
				return came
			case <-limit.C:
				return came
			case <-ctx.Done():
				return came
			}
		}
		return came
	}
	collect(joinQuiet)
	var more ending
	_, _ = j.log.Next(ctx, &more, engine.Whole)
	window = more.bytes()
	if quiet && collect(joinQuiet/5) {
		// Something was printed while the log was read; only content decides.
		quiet = false
	}
	return window, first, known(j.before, window, first, quiet || end != nil), end
}

// known is how many of the stream's first bytes the log has: those that are in the
// window, behind those that are left over from an earlier viewer. QEMU looks only once
// a second whether somebody is attached, so the stream may be pieces of the log with
// gaps between them.
func known(before, window, stream []byte, level bool) int {
	log := append(append(make([]byte, 0, len(before)+len(window)), before...), window...)
	used, at := 0, 0
	for {
		rest := stream[used:]
		n := overlap(log[max(at, len(before)):], rest, level)
		least := n + chance
		if level && n == 0 {
			// The log has all of a level stream: what is not at its end came earlier.
			least = min(chance, len(rest))
		}
		from, size := piece(log[at:], rest)
		if size < max(least, 1) {
			// Too little to tell where it is from, but what follows may be clear.
			if m := overlap(log[max(at, len(before)):], rest[size:], level); m >= n+chance {
				n = size + m
			}
			return used + n
		}
		used, at = used+size, at+from+size
	}
}

// piece is the longest beginning of the stream that is in the log, and where it is.
func piece(log, stream []byte) (from, size int) {
	if len(log) == 0 || len(stream) == 0 {
		return 0, 0
	}
	for i, n := range matches(stream, log) {
		if n > size {
			from, size = i, n
		}
	}
	return from, size
}

// overlap is how many of the stream's first bytes the window of the log ends with.
// Of several possible answers (the guest repeats itself), the one that fits the
// lengths is right if both are level; else the longest is taken.
func overlap(window, stream []byte, level bool) int {
	if len(window) == 0 || len(stream) == 0 {
		return 0
	}
	z := matches(stream, window)
	// agree: from position k on, the window and the stream say the same as far as both go.
	agree := func(k int) bool { return z[k] >= min(len(stream), len(window)-k) }
	if k := len(window) - len(stream); level && k >= 0 && agree(k) {
		return len(stream)
	}
	for k := range window {
		if agree(k) {
			return len(window) - k
		}
	}
	return 0
}

// matches is, for each position of text, how much of pattern begins there (the Z
// function, in linear time).
func matches(pattern, text []byte) []int {
	all := append(append(make([]byte, 0, len(pattern)+len(text)), pattern...), text...)
	z := make([]int, len(all))
	z[0] = len(all)
	for i, l, r := 1, 0, 0; i < len(all); i++ {
		if i < r {
			z[i] = min(r-i, z[i-l])
		}
		for i+z[i] < len(all) && all[z[i]] == all[i+z[i]] {
			z[i]++
		}
		if i+z[i] > r {
			l, r = i, i+z[i]
		}
	}
	out := z[len(pattern):]
	for i := range out {
		out[i] = min(out[i], len(pattern))
	}
	return out
}
