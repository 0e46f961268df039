package cli

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"

	"vmctl/pkg/builder"
	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/image"
	"vmctl/pkg/progress"
	"vmctl/pkg/spec"
	"vmctl/pkg/state"
)

// Images builds flakes. What a file is, this program says itself.
type Images interface {
	// Look begins to look at what a flake's sources are, for Build.
	Look(ctx context.Context, ref builder.Ref) *builder.Sources
	Build(ctx context.Context, ref builder.Ref, rootDir string, refresh bool) (builder.Result, error)
	// BuildThere is Build on another machine, where the result stays.
	BuildThere(ctx context.Context, ref builder.Ref, at builder.There, refresh bool) (builder.Result, builder.Seen, error)
	// Evaluate says what Build would give, and builds nothing.
	Evaluate(ctx context.Context, ref builder.Ref, refresh bool) (builder.Result, error)
	// EvaluateSystem says what the system in the image would be; BuildSystem builds that, and
	// not the image.
	EvaluateSystem(ctx context.Context, ref builder.Ref, refresh bool) (builder.Result, error)
	BuildSystem(ctx context.Context, ref builder.Ref, rootDir string, refresh bool) (string, error)
	// BuildSystemThere is BuildSystem on another machine, where the result stays.
	BuildSystemThere(ctx context.Context, ref builder.Ref, at builder.There, refresh bool) (string, error)
	// Copy copies a store path to another machine.
	Copy(ctx context.Context, path string, to builder.Target) (builder.Copied, error)
	// Recall is what a flake was last built to, whether or not it has changed since.
	Recall(ref builder.Ref) (builder.Result, bool)
	// Offers are the names of a flake's configurations.
	Offers(ctx context.Context, ref builder.Ref) ([]string, error)
	// Version asks nix for its own.
	Version(ctx context.Context) (builder.Version, error)
}

func systemImages(dirs state.Dirs, sink progress.Sink, log *slog.Logger) Images {
	return builder.New(builder.Options{CacheDir: dirs.Cache, Log: log, Sink: sink})
}

// foundImage is what a definition's image turned out to be.
type foundImage struct {
	image engine.Image
	// built is set when nix built it.
	built builder.Result
	// roots is where the links are that keep it from nix's garbage collection, or empty.
	roots string
	// there is set when it was built on the host, where it is kept.
	there *builder.There
	// keep makes the image's garbage collection root the machine's only one; done lets
	// another vmctl build for the machine.
	keep func() error
	done func()
}

// imageUse says what a machine's image is wanted for.
type imageUse struct {
	// host is the URI of the host it is for; empty for none.
	host string
	// session says that guests run as the user on that host.
	session bool
	// passing is an image that is only looked at: nothing keeps it.
	passing bool
	// refresh asks nix and publishers even where nothing seems to have changed.
	refresh bool
	// arch is the host's architecture; empty is this machine's.
	arch string
	// there is where it is to be built; nil is here.
	there *builder.There
}

// findImage builds, downloads or opens a machine's image. Until done is called nobody else
// touches the machine's garbage collection roots.
func (c *call) findImage(ctx context.Context, t *target, use imageUse) (*foundImage, error) {
	dirs, err := c.dirs()
	if err != nil {
		return nil, err
	}
	select {
	case c.building <- struct{}{}:
		defer func() { <-c.building }()
	case <-ctx.Done():
		return nil, fault.New(fault.Interrupted, "interrupted")
	}
	space, roots := use.host, dirs.GCRoots(use.host, t.name)
	if use.host == "" {
		space, roots = buildSpace, dirs.BuildRoots(t.project.Dir, t.name)
	}
	unlock, err := c.locks(dirs, space).Lock(ctx, rootsLock(t.name))
	if err != nil {
		return nil, err
	}
	if use.passing {
		roots = ""
	}
	f := &foundImage{done: unlock, roots: roots}
	if use.there != nil {
		f, err = c.builtThere(ctx, t, use.there, use, c.deps.Images(dirs, c.progress, c.log))
		if fault.Is(err, fault.Refused) {
			c.note(t.name, fault.New(fault.Other, "the image is built here after all: %w", err))
			f, err = &foundImage{done: unlock, roots: roots}, nil
		}
		if err != nil {
			unlock()
			return nil, err
		}
		f.done = unlock
	}
	if f.there != nil {
		f.roots = ""
	} else if t.machine.Image.Kind != spec.ImageFlake {
		release, used := image.UseCache(dirs.Cache)
		if used != nil {
			unlock()
			return nil, used
		}
		f.done = func() { release(); unlock() }
		f.image, err = image.Obtain(ctx, t.machine.Image, t.path(t.machine.Image.Ref), image.Options{
			Cache: dirs.Cache, Progress: c.progress, Now: c.deps.Now, Task: t.name + "/image", Arch: use.arch, Refresh: use.refresh, Ahead: t.ahead,
		})
		f.keep = func() error { return builder.KeepRoots(roots) }
	} else if f.built, err = c.deps.Images(dirs, c.progress, c.log).Build(ctx, t.flake(), roots, use.refresh); err == nil {
		f.image, err = image.FromBuild(ctx, f.built.Path, f.built.OutPath, use.session, image.Options{
			Source: t.machine.Image.String(), Cache: dirs.Cache, Progress: c.progress, Now: c.deps.Now, Task: t.name + "/image",
		})
		f.image.Kept = f.built.Kept
		f.keep = func() error {
			if err := f.built.Kept(); err != nil {
				return err
			}
			return builder.KeepRoots(roots, f.built.OutPath)
		}
		// Nobody else may touch the roots while one is being made.
		f.done = func() { _ = f.built.Kept(); unlock() }
	}
	f.image.Arch = f.built.Arch
	if err == nil {
		err = c.describe(t, f.built)
	}
	if err != nil {
		_ = f.built.Kept()
		removeEmptyRoots(roots)
		f.done()
		return nil, err
	}
	c.noteOrigin(dirs, t, f)
	return f, nil
}

// look begins to look at the sources of a machine's image while the host is connected to.
func (c *call) look(ctx context.Context, t *target) {
	dirs, err := c.dirs()
	if err == nil && t.machine.Image.Kind == spec.ImageFlake {
		t.sources = c.deps.Images(dirs, c.progress, c.log).Look(ctx, t.flake())
	}
}

// readAhead begins to read a machine's image, where that is a file, while the host is
// connected to.
func (c *call) readAhead(ctx context.Context, t *target) {
	dirs, err := c.dirs()
	if err != nil || t.machine.Image.Kind != spec.ImageFile {
		return
	}
	file := t.path(t.machine.Image.Ref)
	c.ahead.mu.Lock()
	defer c.ahead.mu.Unlock()
	if t.ahead = c.ahead.files[file]; t.ahead == nil {
		t.ahead = image.ReadAhead(ctx, file, image.Options{Cache: dirs.Cache, Progress: c.progress, Now: c.deps.Now, Task: t.name + "/image"})
		c.ahead.files[file] = t.ahead
	}
}

// readFiles are the files that are read ahead, each once for all the machines of a command.
type readFiles struct {
	mu    sync.Mutex
	files map[string]*image.Ahead
}

// end stops what is still read, for a command that has ended: nothing is to be written any more.
func (r *readFiles) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, file := range r.files {
		file.End()
	}
}

// flake is what to build for a machine.
func (t *target) flake() builder.Ref {
	img := t.machine.Image
	ref := builder.Ref{
		Flake: img.Ref, Attr: img.Attr, Machine: t.name, Display: img.Ref, TaskID: t.name + "/build",
		Sources: t.sources, NoKVM: t.noKVM, Ask: t.ask,
	}
	if spec.Sets(t.definition.Data, "firmware") {
		ref.Firmware = string(t.machine.Firmware)
	}
	if t.shown != "" {
		ref.Display = t.shown
	}
	if isPath(img.Ref) {
		ref.Flake = t.path(img.Ref)
	}
	return ref
}

// path makes a path of a definition absolute.
func (t *target) path(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(t.project.Dir, path)
}
