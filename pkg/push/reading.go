package push

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"

	"golang.org/x/sync/errgroup"

	"vmctl/pkg/delta"
	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
)

// reading is the client's image while it is read. That begins before the host is reached:
// the one takes the processor, the other takes time.
type reading struct {
	// keys are those of the image's blocks, a message each; closed at the end or an error.
	keys chan []byte
	// summed is closed when sha256, the image's digest, is known.
	summed chan struct{}
	sha256 string

	parts *errgroup.Group
	stop  context.CancelFunc
}

// keysAhead is how many messages of keys wait for the host: 1 GiB of the image.
const keysAhead = 32

func read(ctx context.Context, p engine.Push, salt delta.Salt) *reading {
	r := &reading{keys: make(chan []byte, keysAhead), summed: make(chan struct{})}
	ctx, r.stop = context.WithCancel(ctx)
	r.parts, ctx = errgroup.WithContext(ctx)
	r.parts.Go(func() error {
		defer close(r.keys)
		return r.readKeys(ctx, p, salt)
	})
	r.parts.Go(func() error {
		if r.sha256 = p.SHA256; r.sha256 == "" {
			h := sha256.New()
			if _, err := io.CopyBuffer(h, whole{ctx, io.NewSectionReader(p.Image, 0, p.Size)}, make([]byte, readAtOnce)); err != nil {
				return unreadable(err)
			}
			r.sha256 = hex.EncodeToString(h.Sum(nil))
		}
		close(r.summed)
		return nil
	})
	return r
}

// wait waits until the image is read.
func (r *reading) wait() error { return r.parts.Wait() }

// end stops reading.
func (r *reading) end() {
	r.stop()
	_ = r.wait()
}

func (r *reading) readKeys(ctx context.Context, p engine.Push, salt delta.Salt) error {
	const part = keysPerFrame * delta.Block
	image := &layout{file: p.Image}
	for at := int64(0); at < p.Size; at += part {
		keys, err := keysBy(ctx, image, &salt, at, min(at+part, p.Size))
		if err != nil {
			return unreadable(err)
		}
		select {
		case r.keys <- encodeKeys(keys):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// whole is a reader that ends with its context.
type whole struct {
	ctx context.Context
	io.Reader
}

func (w whole) Read(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.Reader.Read(p)
}

// ownError is one of this end, which says all that is to be said.
type ownError struct{ error }

func (e ownError) Unwrap() error { return e.error }

// unreadable is the error of an image that cannot be read.
func unreadable(err error) error {
	return ownError{fault.New(fault.Build, "the image cannot be read: %w", err)}
}
