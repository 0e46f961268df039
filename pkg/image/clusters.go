package image

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
)

const (
	offsetMask = 0x00fffffffffffe00
	compressed = 1 << 62
)

// clusters finds a qcow2 that was cut anywhere in its data: every table and
// cluster that is mapped must begin inside the file. It reads the tables only.
func (s subject) clusters(ctx context.Context, r io.ReaderAt, size int64) error {
	head := make([]byte, min(size, 104))
	if _, err := r.ReadAt(head, 0); err != nil {
		return s.bad("could not be read: %w", err)
	}
	h := parse(head)
	width := h.cluster() / h.l2Entries()
	// In a sound image tables do not overlap. The bound keeps a hostile one, with
	// millions of entries for the same table, from being read for ever.
	left := uint64(size)/h.cluster() + 1
	return s.entries(ctx, r, h.l1Offset, uint64(h.l1Size), 8, func(entry uint64) error {
		table := entry & offsetMask
		if table == 0 {
			return nil
		}
		if left == 0 {
			return s.damaged("L1 table")
		}
		left--
		return s.entries(ctx, r, table, h.l2Entries(), int(width), func(entry uint64) error {
			cluster := entry & offsetMask
			if entry&compressed != 0 {
				// The upper bits hold the length; they begin at 62-(clusterBits-8).
				cluster = entry & (1<<(62-(h.clusterBits-8)) - 1)
			}
			if cluster >= uint64(size) {
				return s.truncated()
			}
			return nil
		})
	})
}

// entries calls f with the first eight bytes of each entry of a table.
func (s subject) entries(ctx context.Context, r io.ReaderAt, at, count uint64, width int, f func(uint64) error) error {
	var buf [16 << 10]byte
	for count > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := int(min(count, uint64(len(buf)/width)))
		if got, err := r.ReadAt(buf[:n*width], int64(at)); got < n*width {
			if err == nil || errors.Is(err, io.EOF) {
				return s.truncated()
			}
			return s.bad("could not be read: %w", err)
		}
		for i := range n {
			if err := f(binary.BigEndian.Uint64(buf[i*width:])); err != nil {
				return err
			}
		}
		at += uint64(n * width)
		count -= uint64(n)
	}
	return nil
}
