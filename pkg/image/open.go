package image

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"vmctl/pkg/ansi"
	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/image/fetch"
	"vmctl/pkg/progress"
	"vmctl/pkg/spec"
)

// Options of Open.
type Options struct {
	// Source is how the definition named the image; empty means the path.
	Source string
	// Cache is the directory of remembered digests; empty remembers none.
	Cache string
	// Ahead is what was read of the file already; nil is nothing.
	Ahead *Ahead
	// Progress hears how far the reading is; nil means nobody does.
	Progress progress.Sink
	// Task is the ID of the progress events.
	Task string
	// Arch is the architecture that a known image is for, in libvirt's words; empty is
	// this machine's.
	Arch string
	// Refresh asks publishers again what their newest image is.
	Refresh bool
	// Client downloads; nil is one with the defaults.
	Client *fetch.Client
	// Now gives the time; nil is time.Now.
	Now func() time.Time
	// Unpacked is how large an image may become when it is unpacked; 0 is 2 TiB.
	Unpacked spec.Size
}

// Open verifies a local image file and names it by its content: "sha256-<hex>".
// Reading it all is spared when the same unchanged file was read before.
//
// Symbolic links are followed, since people name result/nixos.qcow2 and keep
// images elsewhere; what they lead to must be a regular file, and what is checked
// is the very file that is read. A file that nix could not have made may change,
// so it is never used in place. Errors: fault.NotFound without a file,
// fault.Build for one that is not taken, ctx's error when cancelled.
func Open(ctx context.Context, path string, opts Options) (engine.Image, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return engine.Image{}, fault.New(fault.Build, "image %s has no absolute path: %w", ansi.Plain(path), err)
	}
	s := subjectOf(path)
	f, info, err := s.open(abs)
	if err != nil {
		return engine.Image{}, err
	}
	defer f.Close()
	disk, err := s.verify(ctx, f, info.Size())
	if err != nil {
		return engine.Image{}, err
	}
	sum, err := digest(ctx, f, abs, info, s, opts)
	if err != nil {
		return engine.Image{}, err
	}
	source := opts.Source
	if source == "" {
		source = path
	}
	return engine.Image{
		ID: "sha256-" + sum, Source: source, Path: abs, Format: disk.Format,
		Size: disk.VirtualSize, FileSize: spec.Size(info.Size()), Judged: info,
	}, nil
}

// open opens a regular file and nothing else. O_NONBLOCK keeps a FIFO that nobody
// writes to from holding us; it means nothing to a regular file.
func (s subject) open(abs string) (*os.File, os.FileInfo, error) {
	f, err := os.OpenFile(abs, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, s.unopened(abs, err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = s.bad("is %s, not a file", kindOf(info.Mode())).WithHint("name a qcow2 or raw disk image")
		if info.IsDir() {
			err = s.bad("is a directory").WithHint("name the file in it, or a flake's directory as images/NAME")
		}
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

func kindOf(mode os.FileMode) string {
	switch {
	case mode&os.ModeNamedPipe != 0:
		return "a named pipe"
	case mode&os.ModeSocket != 0:
		return "a socket"
	default:
		return "a device"
	}
}

func (s subject) unopened(abs string, err error) error {
	name := ansi.Plain(s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e := fault.New(fault.NotFound, "there is no image %s", name)
		if near := nearest(filepath.Dir(abs), filepath.Base(abs)); near != "" {
			return e.WithHint("did you mean %s?", ansi.Plain(filepath.Join(filepath.Dir(s.path), near)))
		}
		return e.WithHint("paths are relative to the project's directory")
	case errors.Is(err, fs.ErrPermission):
		return fault.New(fault.Build, "image %s may not be read by you: permission denied", name).
			WithHint("look at it and its directories with: namei -l %s", quote(abs))
	case errors.Is(err, unix.ENXIO):
		return s.bad("is a socket or device, not a file").WithHint("name a qcow2 or raw disk image")
	}
	return s.bad("could not be opened: %w", err)
}

// verify applies the gate to an open file.
func (s subject) verify(ctx context.Context, f *os.File, size int64) (Info, error) {
	info, err := s.check(f, size)
	if err != nil {
		return Info{}, err
	}
	if err := s.agrees(kind(info.Format)); err != nil && info.Format == Qcow2 {
		return Info{}, err
	}
	if info.Format == Qcow2 {
		return info, s.clusters(ctx, f, size)
	}
	if ext := strings.ToLower(filepath.Ext(s.name)); ext != ".img" && ext != ".raw" {
		if s.download {
			return Info{}, s.bad("is not a qcow2: it looks like a raw disk").
				WithHint("download it, and name a raw disk .img or .raw: image: ./disk.raw")
		}
		return Info{}, s.bad("is not a qcow2: it looks like a raw disk").
			WithHint("name a raw disk .img or .raw, or convert it: %s", convert(s.file, Raw, Qcow2))
	}
	return info, nil
}

// nearest is the entry of a directory that a misspelt name could have meant.
func nearest(dir, name string) string {
	d, err := os.Open(dir)
	if err != nil {
		return ""
	}
	defer d.Close()
	const most = 1000
	entries, _ := d.ReadDir(most) // what could be read is enough for a hint
	var files []string
	for _, e := range entries {
		if !e.IsDir() {
			files = append(files, e.Name())
		}
	}
	return spec.Nearest(name, files)
}
