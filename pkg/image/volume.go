package image

import (
	"context"
	"errors"
	"io"
	"strconv"
	"strings"

	"vmctl/pkg/fault"
	"vmctl/pkg/proc"
	"vmctl/pkg/spec"
)

// CheckVolume judges a file that is to become a data volume, as Check does an image;
// only that a raw one need not have a partition table.
func CheckVolume(r io.ReaderAt, size int64, path string) (Info, error) {
	s := subjectOf(path)
	head, info, err := s.begin(r, size, "name the file of a disk")
	if err != nil || head == nil {
		return info, err
	}
	switch {
	case size%sector != 0:
		return Info{}, s.bad("is no disk: a disk's size is a multiple of %d bytes, and this has %d", sector, size).
			WithHint("check with `file %s` what it is", quote(path))
	case spec.Size(size) > maxVirtual:
		return Info{}, s.bad("is larger than %s", maxVirtual)
	}
	if err := s.trailing(r, size); err != nil {
		return Info{}, err
	}
	return Info{Format: Raw, VirtualSize: spec.Size(size)}, nil
}

// Rewrite makes a disk file of another format, by qemu-img. It was judged (CheckVolume), is of
// is.Format, and nobody else can change it. Both formats are stated, so that nothing is probed.
// progress is told how much of 100 is done.
func Rewrite(ctx context.Context, from string, is Info, to, toFormat string, progress func(percent float64)) error {
	fromFormat := is.Format
	_, err := proc.Run(ctx, proc.Cmd{
		Limits: proc.Limits{Memory: convertMemory, CPU: computing(is.VirtualSize), File: roomOf(is.VirtualSize)},
		Path:   "qemu-img", Args: []string{"convert", "-p", "-f", fromFormat, "-O", toFormat, "--", from, to}, SplitCR: true,
		OnStdout: func(line string) {
			// "    (50.00/100%)"
			text, _, ok := strings.Cut(strings.TrimLeft(line, " ("), "/")
			if n, err := strconv.ParseFloat(text, 64); ok && err == nil && progress != nil {
				progress(n)
			}
		},
	})
	if errors.Is(err, proc.ErrNotFound) {
		return fault.New(fault.Other, "%s cannot be made %s: qemu-img is not installed here", from, toFormat).
			WithHint("install it (Debian and Ubuntu: apt install qemu-utils)")
	}
	if err != nil {
		return fault.New(fault.KindOf(err), "%s cannot be made %s: %w", from, toFormat, err)
	}
	return nil
}
