package image

import (
	"bytes"
	"compress/bzip2"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"vmctl/pkg/ansi"
	"vmctl/pkg/fault"
	"vmctl/pkg/image/cache"
	"vmctl/pkg/proc"
	"vmctl/pkg/progress"
	"vmctl/pkg/spec"
)

const (
	// maxUnpacked is more than any image that is handed around packed.
	maxUnpacked = 2 * spec.TiB
	// maxWindow is how far back a zstd file may refer, as in zstd(1) without options.
	maxWindow = 128 << 20
	// xzMemory is more than xz -9 needs (65 MiB).
	xzMemory = 256 << 20
	// unpackVersion changes when the same file is to be unpacked to something else.
	unpackVersion = "unpacked-1-"
)

// unpack unpacks a file into the cache.
func (o obtainer) unpack(ctx context.Context, m material, is kind) (material, error) {
	f, info, err := m.open(m.at)
	if err != nil {
		return material{}, err
	}
	defer f.Close()
	if m.sha256 == "" {
		if err := o.read(ctx, &m); err != nil {
			return material{}, err
		}
	}
	_, name := said(m.name)
	inside := subject{path: m.path + " (unpacked)", name: name, download: m.download}
	task := progress.Event{ID: o.Task + "/unpack", Text: "unpack " + ansi.Plain(filepath.Base(m.name)), Total: info.Size(), Unit: progress.Bytes}
	e, err := o.make(ctx, unpackVersion+m.sha256, m.path, func(out *os.File) (_ string, err error) {
		defer func() {
			task.Status, task.Err = progress.Done, nil
			if err != nil {
				task.Status, task.Err = progress.Failed, err
			}
			o.sink().Emit(task)
		}()
		w := &unpacked{stop: ctx.Err, out: out, dir: o.dir, subject: inside, hash: sha256.New(), limit: int64(maxUnpacked)}
		if o.Unpacked > 0 {
			w.limit = int64(o.Unpacked)
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return "", err
		}
		source := &counted{Reader: f, each: func(n int64) {
			task.Current = n
			o.sink().Emit(task)
		}}
		if err := m.unpackTo(ctx, w, source, f, is); err != nil {
			return "", m.unpackError(ctx, err, is)
		}
		return w.finish()
	})
	if err != nil {
		return material{}, err
	}
	inside.file = e.Path
	return material{subject: inside, at: e.Path, sha256: e.SHA256, cached: true}, nil
}

func (m material) unpackTo(ctx context.Context, w io.Writer, r *counted, f *os.File, is kind) error {
	var from io.Reader
	switch is {
	case gzipped:
		z, err := gzip.NewReader(r)
		if err != nil {
			return err
		}
		from = z
	case zstded:
		z, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderConcurrency(2))
		if err != nil {
			return err
		}
		defer z.Close()
		from = z
	case bzip2ed:
		from = bzip2.NewReader(r)
	default:
		// The program moves the place in the file that we see, too.
		w := writerFunc(func(b []byte) (int, error) {
			if at, err := f.Seek(0, io.SeekCurrent); err == nil {
				r.each(at)
			}
			return w.Write(b)
		})
		_, err := proc.Run(ctx, proc.Cmd{
			Path: "xz", Args: []string{"--decompress", "--stdout", "--quiet", "--threads=1", "--memlimit-decompress=256MiB"},
			Env: []string{"LC_ALL=C", "XZ_OPT=", "XZ_DEFAULTS="}, StdinFile: f, StdoutTo: w, Limits: proc.Limits{Memory: 4 * xzMemory},
		})
		return err
	}
	_, err := io.CopyBuffer(w, onlyReader{from}, make([]byte, 1<<20))
	return err
}

// onlyReader keeps a reader from writing by itself, in pieces of its own choice.
type onlyReader struct{ io.Reader }

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// unpackError words why a file could not be unpacked.
func (m material) unpackError(ctx context.Context, err error, is kind) error {
	var explained *fault.Error
	var failed *proc.Error
	var full *cache.NoRoomError
	again := func(e *fault.Error) error { return e.WithHint("build or download it again") }
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &explained):
		return explained
	case errors.As(err, &full):
		return err
	case errors.Is(err, proc.ErrNotFound):
		return fault.New(fault.Build, "image %s cannot be unpacked: xz is not installed", ansi.Plain(m.path)).
			WithHint("install it: apt-get install xz-utils, or nix profile install nixpkgs#xz")
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return again(m.bad("is cut short: what is packed with %s does not end", is))
	case errors.Is(err, zstd.ErrWindowSizeExceeded):
		return m.bad("needs more than %s of memory to be unpacked", spec.Size(maxWindow)).WithHint("pack it again without zstd --long, or unpack it first: zstd -d --long=31 %s", quote(m.file))
	case errors.As(err, &failed):
		return again(m.bad("cannot be unpacked: %s", ansi.Plain(failed.LastLine())))
	}
	return again(m.bad("cannot be unpacked: %s", ansi.Plain(err.Error())))
}

// counted tells how far a file was read.
type counted struct {
	io.Reader
	n    int64
	each func(int64)
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n += int64(n)
	c.each(c.n)
	return n, err
}

const (
	// hole is how much of zeros is left out at once, as file systems have it.
	hole = 4 << 10
	// step is how much is written between two looks at how much room there is.
	step = 64 << 20
)

// unpacked writes a file with holes where there are only zeros, and stops when it becomes
// larger than it may be, fills the disk, or turns out not to be a disk.
type unpacked struct {
	subject
	// stop says why to stop, or nil.
	stop  func() error
	out   *os.File
	dir   cache.Dir
	hash  hash.Hash
	limit int64
	// size is how much has come, filled how much of it was written.
	size, filled, checked int64
	// head is how it begins, kept until it was looked at; rest is less than a hole.
	head, rest []byte
	looked     bool
}

func (u *unpacked) Write(b []byte) (int, error) {
	if err := u.stop(); err != nil {
		return 0, err
	}
	if u.size+int64(len(b)) > u.limit {
		return 0, u.bad("would become larger than %s", spec.Size(u.limit)).
			WithHint("if it really is that large, unpack it first, and name the unpacked file")
	}
	u.hash.Write(b)
	if !u.looked {
		if u.head = append(u.head, b[:min(len(b), 64<<10)]...); len(u.head) >= 64<<10 {
			if err := u.look(); err != nil {
				return 0, err
			}
		}
	}
	u.size += int64(len(b))
	u.rest = append(u.rest, b...)
	return len(b), u.flush(hole)
}

// look refuses early what no disk begins with.
func (u *unpacked) look() error {
	head := u.head
	u.head, u.looked = nil, true
	is := sniff(head, nil)
	if is.packed() || is.converted() || is == Qcow2 {
		return nil
	}
	if err := u.foreign(head); err != nil {
		return err
	}
	if kinds, _ := said(u.name); is == unknown && (len(kinds) != 1 || kinds[0] != vhd) {
		return u.bad("is not a disk image: it is not a qcow2, and has no partition table as a raw disk would").
			WithHint("look at what was packed")
	}
	return nil
}

// flush writes whole blocks of so many bytes of what has come.
func (u *unpacked) flush(block int) error {
	done := 0
	start := u.size - int64(len(u.rest))
	for len(u.rest)-done >= block && done < len(u.rest) {
		end := done
		// A stretch of blocks that have something in them is written at once.
		for end < len(u.rest) && len(u.rest)-end >= block && !blank(u.rest[end:min(end+hole, len(u.rest))]) {
			end = min(end+hole, len(u.rest))
		}
		if end == done {
			done = min(done+hole, len(u.rest))
			continue
		}
		if err := u.room(int64(end - done)); err != nil {
			return err
		}
		if _, err := u.out.WriteAt(u.rest[done:end], start+int64(done)); err != nil {
			return u.dir.Full(err)
		}
		done = end
	}
	u.rest = append(u.rest[:0], u.rest[done:]...)
	return nil
}

func (u *unpacked) room(n int64) error {
	if u.filled += n; u.filled <= u.checked {
		return nil
	}
	u.checked = u.filled + step
	return u.dir.Need(n)
}

func blank(b []byte) bool {
	return len(b) > 0 && b[0] == 0 && bytes.Equal(b[:len(b)-1], b[1:])
}

// finish writes what is left and gives the digest of all.
func (u *unpacked) finish() (string, error) {
	if u.size == 0 {
		return "", u.bad("is empty").WithHint("build or download it again")
	}
	if !u.looked {
		if err := u.look(); err != nil {
			return "", err
		}
	}
	if err := u.flush(1); err != nil {
		return "", err
	}
	if err := u.out.Truncate(u.size); err != nil {
		return "", u.dir.Full(err)
	}
	return hex.EncodeToString(u.hash.Sum(nil)), nil
}
