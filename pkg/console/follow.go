package console

import (
	"context"
	"io"
	"time"

	"vmctl/pkg/ansi"
	"vmctl/pkg/engine"
)

// FollowOptions of Follow.
type FollowOptions struct {
	Log *engine.ConsoleLog
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
	out := ansi.NewWriter(o.Out)
	o.Log.Anew = out.Flush
	err := follow(ctx, o, out)
	if flushed := out.Flush(); err == nil {
		err = flushed
	}
	if isClosedPipe(err) {
		return nil
	}
	return err
}

func follow(ctx context.Context, o FollowOptions, out io.Writer) error {
	if err := o.Log.Replay(ctx, out, engine.Whole); err != nil {
		return err
	}
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
