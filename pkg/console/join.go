package console

import (
	"context"
	"io"
	"time"
)

// ReadLog reads the console's log from an offset to its present end.
type ReadLog func(ctx context.Context, offset int64) (io.ReadCloser, error)

const (
	// replayLimit is how much of the log is shown again.
	replayLimit = 1 << 20
	// joinQuiet is the silence after which log and stream are taken to be level;
	// joinTime and joinBytes end the wait with a guest that is never silent.
	joinQuiet = 150 * time.Millisecond
	joinTime  = time.Second
	joinBytes = 64 << 10
	// chance is how many bytes may well be the same without being the same output.
	chance = 16
)

// tail is the end of a log.
type tail struct {
	data []byte
	// size is the offset at which data ends.
	size int64
}

// readTail reads a log to its end and keeps the last MiB from a line's beginning
// on. A log that cannot be read is as one that is empty: the console works
// without it.
func readTail(ctx context.Context, read ReadLog, from int64) tail {
	t := tail{size: from}
	if read == nil {
		return t
	}
	r, err := read(ctx, from)
	if err != nil {
		return t
	}
	defer r.Close()
	buf, cut := make([]byte, 64<<10), false
	for {
		n, err := r.Read(buf)
		t.data = append(t.data, buf[:n]...)
		t.size += int64(n)
		if len(t.data) > 2*replayLimit {
			t.data = append(t.data[:0], t.data[len(t.data)-replayLimit:]...)
			cut = true
		}
		if err != nil || ctx.Err() != nil {
			break
		}
	}
	if len(t.data) > replayLimit {
		t.data, cut = t.data[len(t.data)-replayLimit:], true
	}
	if cut {
		for i, b := range t.data {
			if b == '\n' {
				t.data = t.data[i+1:]
				break
			}
		}
	}
	return t
}

// join finds where in the log the stream began. QEMU throws away what the guest
// prints while nobody is attached, but the log has it; and what is printed just
// after attaching is in both, and may reach either first. What an earlier viewer left
// unread in the pseudo-terminal comes out of the stream before all that.
type join struct {
	log ReadLog
	// from is the log's size before attaching, before its end at that time.
	from     int64
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
	t := readTail(ctx, j.log, j.from)
	if quiet && collect(joinQuiet/5) {
		// Something was printed while the log was read; only content decides.
		quiet = false
	}
	return t.data, first, known(j.before, t.data, first, quiet || end != nil), end
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
