package image

import (
	"io"
	"path/filepath"

	"vmctl/pkg/ansi"
	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// There is an image file in a nix store of another machine, as that tells of it.
type There struct {
	// Path is the file without links; OutPath is the store path that was built.
	Path, OutPath, Source string
	Size                  int64
	// Head is its first MiB, or all of it; Tail are its last bytes, a sector or more.
	Head, Tail []byte
	// Open says that QEMU there may read it.
	Open bool
}

// FromThere verifies an image that nix built on the host where it is to be used, as
// FromStore does on this machine. The ID is the same. One that has to be unpacked or
// converted, or that QEMU cannot open where it is, is fault.Refused: it has to be built
// here.
func FromThere(t There) (engine.Image, error) {
	s := subjectOf(t.Path)
	store := filepath.Dir(t.OutPath)
	if !within(t.Path, store) {
		return engine.Image{}, s.bad("is a link to %s, outside the nix store", ansi.Plain(t.Path)).
			WithHint("let the derivation copy the image into its output")
	}
	id, err := storeID(t.Path, store)
	if err != nil {
		return engine.Image{}, err
	}
	if is := sniff(t.Head, t.Tail[max(0, len(t.Tail)-sector):]); is.packed() || is.converted() {
		return engine.Image{}, fault.New(fault.Refused, "%s has to be made a qcow2 or raw disk first", ansi.Plain(t.Path))
	}
	if !t.Open {
		return engine.Image{}, fault.New(fault.Refused, "QEMU there may not read %s", ansi.Plain(t.Path))
	}
	disk, err := s.check(ends{t}, t.Size)
	if err == nil {
		err = s.agrees(kind(disk.Format))
	}
	if err != nil {
		return engine.Image{}, err
	}
	return engine.Image{
		ID: id, Source: t.Source, Path: t.Path, Format: disk.Format,
		Size: disk.VirtualSize, FileSize: spec.Size(t.Size), InPlace: true, OnHost: true,
	}, nil
}

// ends reads what is known of a file. It is enough for the gate; a damage further in is
// for the host's own nix to find.
type ends struct{ There }

func (e ends) ReadAt(p []byte, off int64) (int, error) {
	piece, at := e.Head, off
	if off+int64(len(p)) > int64(len(e.Head)) && off >= e.Size-int64(len(e.Tail)) {
		piece, at = e.Tail, off-(e.Size-int64(len(e.Tail)))
	}
	if at < 0 || at >= int64(len(piece)) {
		return 0, io.EOF
	}
	n := copy(p, piece[at:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
