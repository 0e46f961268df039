package push

import (
	"context"
	"errors"
	"io"
	"math"
	"os"
	"runtime"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"vmctl/pkg/delta"
)

// readAtOnce is how much of a file is read at a time: so little that it is still in the
// processor's cache when it is hashed.
const readAtOnce = 64 * delta.Block

// keysOf are the keys of a file's blocks from an offset, a block's begin, to an end, which
// the file has. Holes that the file system tells of are not read.
func keysOf(ctx context.Context, f *os.File, salt *delta.Salt, from, to int64) ([]delta.Key, error) {
	return keysBy(ctx, &layout{file: f}, salt, from, to)
}

// keysBy is keysOf for who asks for one part of a file after the other.
func keysBy(ctx context.Context, l *layout, salt *delta.Salt, from, to int64) ([]delta.Key, error) {
	f := l.file
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() < to {
		return nil, io.ErrUnexpectedEOF
	}
	keys := make([]delta.Key, delta.Blocks(to-from))
	offsets := make(chan int64)
	group, ctx := errgroup.WithContext(ctx)
	for range min(int64(runtime.GOMAXPROCS(0)), (to-from+readAtOnce-1)/readAtOnce) {
		group.Go(func() error {
			buffer := make([]byte, min(readAtOnce, to-from))
			for at := range offsets {
				part := buffer[:min(readAtOnce, to-at)]
				if n, err := f.ReadAt(part, at); n < len(part) {
					return shortened(err)
				}
				first := (at - from) / delta.Block
				salt.Keys(keys[first:first], part)
			}
			return nil
		})
	}
	group.Go(func() error {
		defer close(offsets)
		return l.each(from, to, func(at int64) error {
			select {
			case offsets <- at:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	})
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return keys, nil
}

// shortened is the error of a file that ended before its end.
func shortened(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// layout is where the data of a file lie, as far as its file system tells. It remembers
// what was found last: some file systems look at all that follows, each time.
type layout struct {
	file       *os.File
	begin, end int64
}

// each calls do with the offsets, each a readAtOnce behind the one before or more, of all
// that is no hole.
func (l *layout) each(from, to int64, do func(at int64) error) error {
	for at := from; at < to; {
		if at >= l.end || at < l.begin {
			if err := l.find(at); err != nil {
				return err
			}
		}
		for at = max(at, l.begin/delta.Block*delta.Block); at < min(l.end, to); at += readAtOnce {
			if err := do(at); err != nil {
				return err
			}
		}
	}
	return nil
}

// find finds the next data from an offset on.
func (l *layout) find(at int64) (err error) {
	l.begin, err = l.file.Seek(at, unix.SEEK_DATA)
	if err == nil {
		l.end, err = l.file.Seek(l.begin, unix.SEEK_HOLE)
	}
	switch {
	case errors.Is(err, unix.ENXIO): // the rest is a hole
		l.begin, l.end = math.MaxInt64, math.MaxInt64
		return nil
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP): // it does not know holes
		l.begin, l.end = at, math.MaxInt64
		return nil
	}
	return err
}
