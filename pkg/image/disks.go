package image

import (
	"io"

	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// gate judges a disk of a foreign format before qemu-img is shown it: that it refers to no
// other file, and that its tables and its size are within reason. It gives the size of
// the disk that a guest would see.
func (s subject) gate(k kind, r io.ReaderAt, size int64) (spec.Size, error) {
	var virtual uint64
	var err error
	switch k {
	case vmdk:
		virtual, err = s.vmdk(r, size)
	case vdi:
		virtual, err = s.vdi(r, size)
	case vhd:
		virtual, err = s.vhd(r, size)
	case vhdx:
		virtual, err = s.vhdx(r, size)
	}
	switch {
	case err != nil:
		return 0, err
	case virtual == 0:
		return 0, s.bad("is a disk of 0 bytes").WithHint("build or download it again")
	case virtual > uint64(maxVirtual):
		return 0, s.bad("is a disk of more than %s", maxVirtual).WithHint("build it smaller; the machine's disk may be larger than its image")
	}
	return spec.Size(virtual), nil
}

// whole is the hint for a disk that is only a part of one.
func (s subject) whole(err *fault.Error, k kind) *fault.Error {
	return err.WithHint("if you trust it, make it whole: %s", convert(s.file, string(k), Qcow2))
}

// block reads so many bytes at an offset, all of which must be there.
func (s subject) block(r io.ReaderAt, at, length, size int64) ([]byte, error) {
	if at < 0 || length < 0 || at > size || length > size-at {
		return nil, s.truncated()
	}
	b := make([]byte, length)
	if n, err := r.ReadAt(b, at); n < len(b) {
		return nil, s.bad("could not be read: %w", err)
	}
	return b, nil
}
