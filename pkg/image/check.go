package image

import (
	"bytes"
	"errors"
	"io"

	"vmctl/pkg/ansi"
	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// The formats an image can have.
const (
	Qcow2 = "qcow2"
	Raw   = "raw"
)

const (
	// headLimit is how much of an image is looked at to judge it.
	headLimit = 1 << 20
	// maxVirtual is larger than any disk QEMU's qcow2 can usefully have here.
	maxVirtual = 64 * spec.TiB
	sector     = 512
)

// Info is what an image says of itself, after it was found to be harmless.
type Info struct {
	// Format is Qcow2 or Raw.
	Format string
	// VirtualSize is the size of the disk that the guest sees.
	VirtualSize spec.Size
}

// Check judges an image of size bytes by its first MiB: whether it is a qcow2 or a
// raw disk that refers to no other file, needs no feature that is unknown here,
// and is all there as far as its header tells. Every other answer is an error of
// kind fault.Build, with the command that mends it where there is one.
//
// The format it returns is to be stated wherever the image is used; a raw image is
// never to be probed, since its guest may write a qcow2 header into it.
func Check(r io.ReaderAt, size int64) (Info, error) {
	return subjectOf("disk.img").check(r, size)
}

// subject words what is wrong with one image.
type subject struct {
	// path is what people call it: a path, or where it came from.
	path string
	// file is where it is, for commands that people may type; name is the name whose
	// suffix says what it is.
	file, name string
	// download says that the name is not the person's own.
	download bool
}

// subjectOf is an image that is called by its path.
func subjectOf(path string) subject { return subject{path: path, file: path, name: path} }

func (s subject) bad(format string, args ...any) *fault.Error {
	return fault.New(fault.Build, "image %s "+format, append([]any{ansi.Plain(s.path)}, args...)...)
}

// begin judges the beginning. A qcow2 is judged whole: then there is no head, and info is
// what came out.
func (s subject) begin(r io.ReaderAt, size int64, whenEmpty string) (head []byte, info Info, err error) {
	if size <= 0 {
		return nil, Info{}, s.bad("is empty").WithHint("%s", whenEmpty)
	}
	head = make([]byte, min(size, 64<<10))
	if n, err := r.ReadAt(head, 0); n < len(head) {
		if errors.Is(err, io.EOF) {
			return nil, Info{}, s.truncated()
		}
		return nil, Info{}, s.bad("could not be read: %w", err)
	}
	if bytes.HasPrefix(head, qcowMagic) {
		h, err := s.qcow2(r, head, size)
		return nil, Info{Format: Qcow2, VirtualSize: spec.Size(h.size)}, err
	}
	return head, Info{}, s.foreign(head)
}

func (s subject) check(r io.ReaderAt, size int64) (Info, error) {
	head, info, err := s.begin(r, size, "build or download it again")
	if err != nil || head == nil {
		return info, err
	}
	switch {
	case !partitioned(head):
		return Info{}, s.bad("is not a qcow2, and has no partition table as a raw disk would").
			WithHint("check with `file %s` what it is", quote(s.file))
	case size%sector != 0:
		return Info{}, s.bad("is cut short: a raw disk's size is a multiple of %d bytes, and this has %d", sector, size).
			WithHint("build or download it again")
	case spec.Size(size) > maxVirtual:
		return Info{}, s.bad("is larger than %s", maxVirtual)
	}
	if err := s.trailing(r, size); err != nil {
		return Info{}, err
	}
	return Info{Format: Raw, VirtualSize: spec.Size(size)}, nil
}

func (s subject) truncated() error {
	return s.bad("is cut short: parts that its header names lie past its end").
		WithHint("build or download it again")
}

// trailing refuses a raw disk that other programs would take for a VHD: that has its
// header at the end, behind the disk.
func (s subject) trailing(r io.ReaderAt, size int64) error {
	var last [8]byte
	if _, err := r.ReadAt(last[:], size-sector); err != nil {
		return s.bad("could not be read: %w", err)
	}
	if string(last[:]) == "conectix" {
		return s.bad("is not a raw disk: it is a VHD").WithHint("rename it, so that vmctl converts it: mv %s %s.vhd", quote(s.file), quote(s.file))
	}
	return nil
}

// partitioned looks for an MBR or a GPT.
func partitioned(head []byte) bool {
	return len(head) >= sector && head[510] == 0x55 && head[511] == 0xaa ||
		len(head) >= sector+8 && string(head[sector:sector+8]) == "EFI PART"
}
