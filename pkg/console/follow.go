package console

import (
	"bytes"
	"context"
	"io"
	"time"

	"vmctl/pkg/ansi"
	"vmctl/pkg/engine"
)

// FollowOptions of Follow.
type FollowOptions struct {
	Log *engine.ConsoleLog
	// Lines is how many lines are printed of what is there already, the last ones: 0 is all,
	// less is none.
	Lines int
	// Out gets text without anything that could drive a terminal.
	Out io.Writer
	// Stopped is closed when the machine stops; nil, or closed already, prints what
	// is there and returns.
	Stopped <-chan struct{}
	// Interval is how often to look for more; half a second by default.
	Interval time.Duration
}

// Follow prints a machine's log, and what is added to it until the machine stops.
// A log that was begun anew, by the next boot, is printed from its beginning. A
// reader of the output that goes away ends it without an error. When ctx ends, its
// error is returned.
func Follow(ctx context.Context, o FollowOptions) error {
	if o.Interval == 0 {
		o.Interval = time.Second / 2
	}
	out, err := begin(ctx, o)
	if err == nil {
		o.Log.Anew = out.Flush
		err = follow(ctx, o, out)
	}
	if flushed := out.Flush(); err == nil {
		err = flushed
	}
	if isClosedPipe(err) {
		return nil
	}
	return err
}

// firstLook is how much is read of a log first of which only the last lines are asked for.
const firstLook = 64 << 10

// begin prints what is there already, and gives what the rest goes through. Of lines that are
// not asked for no more is read than shows that.
func begin(ctx context.Context, o FollowOptions) (*ansi.Filter, error) {
	if o.Lines == 0 {
		out := ansi.NewWriter(o.Out)
		return out, o.Log.Replay(ctx, out, engine.Whole)
	}
	for size := int64(firstLook); ; size *= 8 {
		held := &gate{out: o.Out}
		out, read := ansi.NewWriter(held), counter(0)
		if err := o.Log.Replay(ctx, io.MultiWriter(out, &read), size); err != nil {
			return out, err
		}
		last := lastLines(held.held, o.Lines)
		if whole := int64(read) < size; !whole && len(last) == len(held.held) {
			continue // the first line may have begun earlier
		}
		held.held, held.open = nil, true
		_, err := o.Out.Write(last)
		return out, err
	}
}

// gate holds what is written to it until it is open.
type gate struct {
	out  io.Writer
	held []byte
	open bool
}

func (g *gate) Write(p []byte) (int, error) {
	if g.open {
		return g.out.Write(p)
	}
	g.held = append(g.held, p...)
	return len(p), nil
}

// counter counts what is written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// lastLines are the last n lines of a text.
func lastLines(text []byte, n int) []byte {
	if n <= 0 {
		return nil
	}
	at := len(bytes.TrimSuffix(text, []byte{'\n'}))
	for ; n > 0; n-- {
		if at = bytes.LastIndexByte(text[:at], '\n'); at < 0 {
			return text
		}
	}
	return text[at+1:]
}

func follow(ctx context.Context, o FollowOptions, out io.Writer) error {
	tick := time.NewTicker(o.Interval)
	defer tick.Stop()
	stopped := o.Stopped == nil
	for {
		if !stopped {
			select {
			case <-o.Stopped:
				stopped = true
			case <-tick.C:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		more, err := o.Log.Next(ctx, out, engine.Whole)
		if err != nil || stopped && !more {
			return err
		}
	}
}
