package console

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"

	"vmctl/pkg/ansi"
	"vmctl/pkg/fault"
)

// anchorSize is how much of what was read is read again, to see that the log is
// still the same.
const anchorSize = 64

// FollowOptions of Follow.
type FollowOptions struct {
	// Read reads the log.
	Read ReadLog
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
// reader of the output that goes away ends it without an error; so does a log that
// is removed meanwhile. When ctx ends, its error is returned.
func Follow(ctx context.Context, o FollowOptions) error {
	if o.Interval == 0 {
		o.Interval = time.Second / 2
	}
	f := &follower{read: o.Read, out: ansi.NewWriter(o.Out)}
	_, err := f.step(ctx)
	if err != nil {
		return f.end(err)
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
				return f.end(ctx.Err())
			}
		}
		more, err := f.step(ctx)
		switch {
		case fault.Is(err, fault.NotFound):
			return f.end(nil)
		case err != nil:
			return f.end(err)
		case stopped && !more:
			return f.end(nil)
		}
	}
}

type follower struct {
	read   ReadLog
	out    *ansi.Filter
	offset int64
	anchor []byte
}

// end flushes the text and makes a closed pipe no error.
func (f *follower) end(err error) error {
	flushed := f.out.Flush()
	if err == nil {
		err = flushed
	}
	if isClosedPipe(err) {
		return nil
	}
	return err
}

// step prints what was added since the last one, and reports whether there was any.
func (f *follower) step(ctx context.Context) (more bool, err error) {
	more, same, err := f.add(ctx)
	if err != nil && f.offset > 0 && !fault.Is(err, fault.NotFound) && ctx.Err() == nil {
		// A host may call an offset behind the end an error.
		if t, again := f.length(ctx); again != nil || t >= f.offset {
			return false, err
		}
		same, err = false, nil
	}
	if err != nil || same {
		return more, err
	}
	if err := f.out.Flush(); err != nil {
		return false, err
	}
	f.offset, f.anchor = 0, nil
	_, _, err = f.add(ctx)
	return true, err
}

// add prints from the offset on. The log is not the same any more when the bytes
// before the offset are others, or gone.
func (f *follower) add(ctx context.Context) (more, same bool, err error) {
	r, err := f.read(ctx, f.offset-int64(len(f.anchor)))
	if err != nil {
		return false, true, err
	}
	defer r.Close()
	before := make([]byte, len(f.anchor))
	if n, err := io.ReadFull(r, before); err != nil {
		ended := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if ended && n < len(before) {
			return false, false, nil
		}
		return false, true, err
	}
	if !bytes.Equal(before, f.anchor) {
		return false, false, nil
	}
	buf := make([]byte, 64<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			more = true
			f.offset += int64(n)
			f.anchor = append(f.anchor, buf[:n]...)
			f.anchor = append([]byte(nil), f.anchor[max(0, len(f.anchor)-anchorSize):]...)
			if _, err := f.out.Write(buf[:n]); err != nil {
				return more, true, err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return more, true, nil
		case err != nil:
			return more, true, err
		case ctx.Err() != nil:
			return more, true, ctx.Err()
		}
	}
}

// length is how long the log is now, as far as it matters.
func (f *follower) length(ctx context.Context) (int64, error) {
	r, err := f.read(ctx, 0)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	return io.Copy(io.Discard, io.LimitReader(r, f.offset))
}
