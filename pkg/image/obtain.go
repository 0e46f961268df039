package image

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"

	"vmctl/pkg/ansi"
	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/image/cache"
	"vmctl/pkg/image/fetch"
	"vmctl/pkg/progress"
	"vmctl/pkg/spec"
)

// material is a file on its way to an image: as it was named, downloaded or unpacked.
type material struct {
	subject
	// at is the file; sha256 is its digest, empty while nobody has read it.
	at, sha256 string
	// cached says that it lies in the cache, where nobody changes it.
	cached bool
}

// obtainer makes an image of what a definition names.
type obtainer struct {
	Options
	dir cache.Dir
}

// Obtain gives the image that a definition names, but for one that nix builds: a file, a
// URL or a known image; downloaded, verified, unpacked and converted as it needs. file
// is the absolute path of a file. What is downloaded, unpacked or converted stays in
// opts.Cache, and is not done again for anybody who asks for the same.
//
// Nothing that was not verified is used, and no program but our own sees a foreign disk
// before it is known to refer to no other file. Errors: fault.NotFound without a file
// or such a known image, fault.Build for what cannot be had or is not taken.
func Obtain(ctx context.Context, image spec.Image, file string, opts Options) (engine.Image, error) {
	switch {
	case opts.Source != "":
	case image.Kind == spec.ImageURL:
		opts.Source = fetch.Display(image.Ref) // a query may hold a key
	default:
		opts.Source = image.String()
	}
	o := obtainer{opts, cache.Dir(filepath.Join(opts.Cache, "images"))}
	m := material{subject: subjectOf(file), at: file}
	if image.Kind != spec.ImageFile {
		var err error
		if m, err = o.download(ctx, image); err != nil {
			return engine.Image{}, err
		}
	} else if image.SHA256 != "" {
		if err := o.verified(ctx, &m, image.SHA256); err != nil {
			return engine.Image{}, err
		}
	}
	return o.finish(ctx, m)
}

// finish takes a file through what it needs to become an image.
func (o obtainer) finish(ctx context.Context, m material) (engine.Image, error) {
	is, err := m.kind()
	if err != nil {
		return engine.Image{}, err
	}
	if is.packed() {
		if m, err = o.unpack(ctx, m, is); err != nil {
			return engine.Image{}, err
		}
		if is, err = m.kind(); err != nil {
			return engine.Image{}, err
		}
		if is.packed() {
			return engine.Image{}, m.bad("is packed twice").WithHint("unpack it once, and name the unpacked file")
		}
	}
	id := ""
	if is.converted() {
		if m, id, err = o.convert(ctx, m, is); err != nil {
			return engine.Image{}, err
		}
	}
	return o.open(ctx, m, id)
}

// open verifies the disk and names it: by its content, or as id says.
func (o obtainer) open(ctx context.Context, m material, id string) (engine.Image, error) {
	f, info, err := m.open(m.at)
	if err != nil {
		return engine.Image{}, err
	}
	defer f.Close()
	disk, err := m.verify(ctx, f, info.Size())
	if err != nil {
		return engine.Image{}, err
	}
	if id == "" && m.sha256 == "" {
		if m.sha256, err = digest(ctx, f, m.at, info, m.subject, o.Options); err != nil {
			return engine.Image{}, err
		}
	}
	if id == "" {
		id = "sha256-" + m.sha256
	}
	found := engine.Image{
		ID: id, Source: o.Source, Path: m.at, SHA256: m.sha256, Format: disk.Format,
		Size: disk.VirtualSize, FileSize: spec.Size(info.Size()),
	}
	if !m.cached {
		found.Judged = info
	}
	return found, nil
}

// kind looks at the file, and refuses it when its name says otherwise.
func (m material) kind() (kind, error) {
	f, info, err := m.open(m.at)
	if err != nil {
		return unknown, err
	}
	defer f.Close()
	if info.Size() == 0 {
		return unknown, m.bad("is empty").WithHint("build or download it again")
	}
	head := make([]byte, min(info.Size(), 64<<10))
	if _, err := io.ReadFull(f, head); err != nil {
		return unknown, m.bad("could not be read: %w", err)
	}
	tail := make([]byte, min(info.Size(), sector))
	if _, err := f.ReadAt(tail, info.Size()-int64(len(tail))); err != nil {
		return unknown, m.bad("could not be read: %w", err)
	}
	is := sniff(head, tail)
	if is.packed() || is.converted() {
		return is, m.agrees(is)
	}
	kinds, _ := said(m.name)
	if len(kinds) > 0 && (kinds[0].packed() || kinds[0].converted()) {
		if err := m.agrees(is); err != nil {
			return is, err
		}
		if err := m.foreign(head); err != nil {
			return is, err
		}
		return is, m.bad("is not what its name says: nothing is known that looks like this").
			WithHint("build or download it again")
	}
	return is, nil
}

// read finds out the digest of a file.
func (o obtainer) read(ctx context.Context, m *material) error {
	f, info, err := m.open(m.at)
	if err != nil {
		return err
	}
	defer f.Close()
	m.sha256, err = digest(ctx, f, m.at, info, m.subject, o.Options)
	return err
}

// verified reads a file of the person's own and compares it with what it must be.
func (o obtainer) verified(ctx context.Context, m *material, want string) error {
	if err := o.read(ctx, m); err != nil {
		return err
	}
	if m.sha256 != want {
		return m.bad("is not what it was said to be: its checksum is another one").
			WithDetails("sha256\n  wanted " + want + " (sha256 in the definition)\n  got    " + m.sha256).
			WithHint("if the file is the right one, write its checksum into the definition")
	}
	return nil
}

// download fetches the image that a URL or a short name leads to.
func (o obtainer) download(ctx context.Context, image spec.Image) (material, error) {
	if o.Cache == "" {
		return material{}, fault.New(fault.Build, "%s cannot be downloaded: there is no directory to keep it in", ansi.Plain(image.Ref)).
			WithHint("set HOME or XDG_CACHE_HOME")
	}
	address, sums := image.Ref, image.Checksums
	if image.Kind == spec.ImageKnown {
		build, err := known(image.Ref, o.arch())
		if err != nil {
			return material{}, err
		}
		address, sums = build.URL, build.Checksums
	}
	e, err := o.fetched(ctx, image, address, sums)
	if err != nil {
		return material{}, err
	}
	name := base(address)
	return material{
		subject: subject{path: fetch.Display(address), file: e.Path, name: name, download: true},
		at:      e.Path, sha256: e.SHA256, cached: true,
	}, nil
}

// arch is the architecture of the machine, in libvirt's words.
func (o obtainer) arch() string {
	if o.Arch != "" {
		return o.Arch
	}
	switch runtime.GOARCH {
	case "amd64":
		return archX86
	case "arm64":
		return archARM
	}
	return runtime.GOARCH
}

func (o obtainer) client() *fetch.Client {
	c := fetch.Client{}
	if o.Client != nil {
		c = *o.Client
	}
	c.Sink = o.sink()
	return &c
}

func (o obtainer) sink() progress.Sink {
	if o.Progress == nil {
		return progress.Discard
	}
	return o.Progress
}

// base is the name of a URL's file.
func base(address string) string {
	return path.Base(pathOf(address))
}

// make makes an entry of the cache once, whoever asks for it: fill writes the part and
// gives its digest.
func (o obtainer) make(ctx context.Context, key, from string, fill func(f *os.File) (sha256 string, err error)) (e cache.Entry, err error) {
	if o.Cache == "" {
		return cache.Entry{}, fault.New(fault.Build, "there is no directory to keep images in").WithHint("set HOME or XDG_CACHE_HOME")
	}
	if e, ok := o.dir.Find(key); ok {
		return e, nil
	}
	unlock, err := o.dir.Lock(ctx, key, func() {
		o.sink().Emit(progress.Event{ID: o.Task + "/wait", Status: progress.Note, Text: "another vmctl is preparing " + ansi.Plain(o.Source) + ": waiting for it"})
	})
	if err != nil {
		return cache.Entry{}, o.unkept(ctx, err)
	}
	defer unlock()
	if e, ok := o.dir.Find(key); ok {
		return e, nil
	}
	if err := o.dir.Drop(key); err != nil {
		return cache.Entry{}, o.unkept(ctx, err)
	}
	f, err := os.OpenFile(o.dir.Part(key), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return cache.Entry{}, o.unkept(ctx, err)
	}
	sum, err := fill(f)
	err = errors.Join(err, f.Close())
	if err == nil {
		e, err = o.dir.Commit(key, sum, from)
	}
	if err != nil {
		_ = o.dir.Drop(key) // the next run removes it, too
		return cache.Entry{}, o.unkept(ctx, err)
	}
	return e, nil
}

// unkept explains an error of the cache; what is explained already stays as it is.
func (o obtainer) unkept(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	err = o.dir.Full(err)
	var full *cache.NoRoomError
	var explained *fault.Error
	var file *fs.PathError
	switch {
	case errors.As(err, &explained):
		return err
	case errors.As(err, &full):
		return fetch.NoRoom(full)
	case errors.As(err, &file):
		err = file.Err
	}
	return fault.New(fault.Build, "the image cannot be kept in %s: %w", string(o.dir), err).
		WithHint("make it writable, or set XDG_CACHE_HOME to a directory that is")
}
