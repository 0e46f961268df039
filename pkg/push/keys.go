package push

import (
	"context"
	"errors"
	"io"
	"os"
	"runtime"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"vmctl/pkg/delta"
)

// keyPart is how much of a file one goroutine hashes at a time.
const keyPart = 256 * delta.Block

// keysOf are the keys of a file's blocks from an offset, a block's begin, to an end.
func keysOf(ctx context.Context, f io.ReaderAt, salt delta.Salt, from, to int64) ([]delta.Key, error) {
	keys := make([]delta.Key, delta.Blocks(to-from))
	parts, part := errgroup.WithContext(ctx)
	parts.SetLimit(runtime.GOMAXPROCS(0))
	for at := from; at < to; at += keyPart {
		if part.Err() != nil {
			break
		}
		parts.Go(func() error {
			buffer := make([]byte, min(keyPart, to-at))
			if n, err := f.ReadAt(buffer, at); n < len(buffer) {
				if errors.Is(err, io.EOF) {
					err = io.ErrUnexpectedEOF
				}
				return err
			}
			first := (at - from) / delta.Block
			salt.Keys(keys[first:first], buffer)
			return nil
		})
	}
	if err := parts.Wait(); err != nil {
		return nil, err
	}
	return keys, ctx.Err()
}

// keysAt are the keys of so many blocks of a file from one on; nil when there is nothing.
func keysAt(ctx context.Context, f *os.File, salt delta.Salt, at, count, size int64) ([]delta.Key, error) {
	from, to := at*delta.Block, min((at+count)*delta.Block, size)
	data, err := f.Seek(from, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) || err == nil && data >= to {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return keysOf(ctx, f, salt, from, to)
}

// keysOfFile are the keys of a whole file, or of its first blocks. The file's holes, where
// the file system tells of them, are not read.
func keysOfFile(ctx context.Context, f *os.File, salt delta.Salt, most int64) ([]delta.Key, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	size := info.Size()
	if delta.Blocks(size) > most {
		size = most * delta.Block
	}
	keys := make([]delta.Key, delta.Blocks(size))
	for at := int64(0); at < size; {
		begin, err := f.Seek(at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) || err == nil && begin >= size {
			break // the rest is a hole
		}
		if err != nil {
			return nil, err
		}
		end, err := f.Seek(begin, unix.SEEK_HOLE)
		if err != nil {
			return nil, err
		}
		begin = begin / delta.Block * delta.Block
		end = min(delta.Blocks(end)*delta.Block, size)
		part, err := keysOf(ctx, f, salt, begin, end)
		if err != nil {
			return nil, err
		}
		copy(keys[begin/delta.Block:], part)
		at = end
	}
	return keys, nil
}
