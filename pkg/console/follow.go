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
	// Aside are the pieces of the log that were put aside, the newest first: virtlogd begins
	// a new file after 2 MiB (max_size in virtlogd.conf). nil is none.
	Aside func(ctx context.Context) ([]ReadLog, error)
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
	f := &follower{read: o.Read, aside: o.Aside, out: ansi.NewWriter(o.Out)}
	if err := f.begin(ctx); err != nil {
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
	aside  func(ctx context.Context) ([]ReadLog, error)
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

// begin prints all there is.
func (f *follower) begin(ctx context.Context) error {
	pieces, err := f.pieces(ctx)
	if err != nil {
		return err
	}
	return f.from(ctx, pieces, len(pieces))
}

// step prints what was added since the last one, and reports whether there was any.
func (f *follower) step(ctx context.Context) (more bool, err error) {
	more, same, err := f.add(ctx, f.read)
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
	// It was put aside, or the next boot has begun a new one.
	pieces, err := f.pieces(ctx)
	if err != nil {
		return false, err
	}
	at, err := f.locate(ctx, pieces, 1)
	if err != nil {
		return false, err
	}
	if at == len(pieces) {
		if err := f.out.Flush(); err != nil {
			return false, err
		}
	}
	return true, f.from(ctx, pieces, at)
}

// pieces are the log and what was put aside of it, the newest first.
func (f *follower) pieces(ctx context.Context) ([]ReadLog, error) {
	pieces := []ReadLog{f.read}
	if f.aside == nil {
		return pieces, nil
	}
	aside, err := f.aside(ctx)
	return append(pieces, aside...), err
}

// locate finds the piece that what was printed last is of, and prints the rest of it. It is
// none older than the first one named; none at all is len(pieces).
func (f *follower) locate(ctx context.Context, pieces []ReadLog, first int) (int, error) {
	for at := first; at < len(pieces); at++ {
		if _, same, err := f.add(ctx, pieces[at]); err == nil && same || err != nil && !fault.Is(err, fault.NotFound) {
			return at, err
		}
	}
	return len(pieces), nil
}

// from prints the pieces that are newer than the one named, which was printed to its end.
// Meanwhile the log may be put aside again: then each piece is the next older one.
func (f *follower) from(ctx context.Context, pieces []ReadLog, at int) error {
	for at > 0 {
		next, err := pieces[at-1](ctx, 0)
		if err != nil {
			return err
		}
		if renamed, err := f.renamed(ctx, pieces, at); err != nil || renamed {
			_ = next.Close()
			if err == nil {
				pieces, err = f.pieces(ctx)
			}
			if err == nil {
				at, err = f.locate(ctx, pieces, at)
			}
			if err != nil {
				return err
			}
			continue
		}
		f.offset, f.anchor = 0, nil
		_, err = f.print(ctx, next)
		_ = next.Close()
		if err != nil {
			return err
		}
		if at--; f.offset == 0 {
			return nil // there is nothing to know it by again
		}
	}
	return nil
}

// renamed says that what was put aside has other names by now. Where all of it is printed,
// that is seen by what has come to it.
func (f *follower) renamed(ctx context.Context, pieces []ReadLog, at int) (bool, error) {
	switch {
	case at < len(pieces):
		_, same, err := f.add(ctx, pieces[at])
		if fault.Is(err, fault.NotFound) { // as when the next boot begins
			return true, nil
		}
		return !same, err
	case len(pieces) == 1: // nobody waits for one more question
		return false, nil
	}
	now, err := f.pieces(ctx)
	return len(now) > len(pieces), err
}

// add prints from the offset on. The log is not the same any more when the bytes
// before the offset are others, or gone.
func (f *follower) add(ctx context.Context, read ReadLog) (more, same bool, err error) {
	r, err := read(ctx, f.offset-int64(len(f.anchor)))
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
	more, err = f.print(ctx, r)
	return more, true, err
}

// print prints the rest of what is read.
func (f *follower) print(ctx context.Context, r io.Reader) (more bool, err error) {
	buf := make([]byte, 64<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			more = true
			f.offset += int64(n)
			f.anchor = append(f.anchor, buf[:n]...)
			f.anchor = append([]byte(nil), f.anchor[max(0, len(f.anchor)-anchorSize):]...)
			if _, err := f.out.Write(buf[:n]); err != nil {
				return more, err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return more, nil
		case err != nil:
			return more, err
		case ctx.Err() != nil:
			return more, ctx.Err()
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
