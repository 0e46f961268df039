package libvirt

import (
	"bytes"
	"context"
	"errors"
	"io"

	golibvirt "libvirt.org/go/libvirt"

	"vmctl/pkg/fault"
)

const (
	// block is the unit in which zeros are looked for: a file system's own, so that
	// every hole of an image stays one.
	block = 4 << 10
	// written is how much of a new volume is sent whatever it holds: qemu-img has
	// written the metadata of an empty image there, and a hole only skips it.
	written = 1 << 20
)

// outlet is the part of a libvirt stream that takes an upload.
type outlet interface {
	Send(p []byte) (int, error)
	SendHole(length int64, flags uint32) error
}

// sender sends a range of a file through a stream.
type sender struct {
	to     outlet
	report func(sent int64)
	sparse bool
	// offset is where in the volume the range begins, size how long it is.
	offset, size int64
	// sent is how far the range has come, pending hole included.
	sent, hole int64
}

func (s *sender) send(ctx context.Context, src io.Reader) error {
	buffer := make([]byte, min(int64(chunk), max(s.size, 1)))
	for {
		if ctx.Err() != nil {
			return cut(ctx, "upload")
		}
		n, readErr := io.ReadFull(src, buffer)
		if err := s.pass(buffer[:n]); err != nil {
			return err
		}
		switch {
		case readErr == nil:
		case errors.Is(readErr, io.EOF) || errors.Is(readErr, io.ErrUnexpectedEOF):
			if s.sent != s.size {
				return fault.New(fault.Build, "the image ended after %d of %d bytes", s.offset+s.sent, s.offset+s.size)
			}
			return s.skip()
		default:
			return fault.New(fault.Build, "the image cannot be read: %w", readErr)
		}
	}
}

// pass sends data, and notes its blocks of zeros as part of a hole.
func (s *sender) pass(data []byte) error {
	for len(data) > 0 {
		n, empty := s.run(data)
		if empty {
			s.hole += int64(n)
			s.sent += int64(n)
		} else if err := s.data(data[:n]); err != nil {
			return err
		}
		data = data[n:]
		s.report(s.sent)
	}
	return nil
}

// run is how long data goes on being zeros, or not.
func (s *sender) run(data []byte) (n int, empty bool) {
	if !s.sparse {
		return len(data), false
	}
	if at := s.offset + s.sent; at < written {
		return int(min(int64(len(data)), written-at)), false
	}
	empty = zeros(data[:min(len(data), block)])
	for n < len(data) && zeros(data[n:min(len(data), n+block)]) == empty {
		n = min(len(data), n+block)
	}
	return n, empty
}

var nothingButZeros [block]byte

func zeros(data []byte) bool { return bytes.Equal(data, nothingButZeros[:len(data)]) }

// data sends bytes behind the hole that may be pending.
func (s *sender) data(data []byte) error {
	if err := s.skip(); err != nil {
		return err
	}
	for len(data) > 0 {
		n, err := s.to.Send(data)
		if err != nil {
			return err
		}
		data = data[n:]
		s.sent += int64(n)
	}
	return nil
}

// skip sends the pending hole.
func (s *sender) skip() error {
	if s.hole == 0 {
		return nil
	}
	hole := s.hole
	s.hole = 0
	return s.to.SendHole(hole, 0)
}

var _ outlet = (*golibvirt.Stream)(nil)
