package cli

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"vmctl/pkg/builder"
	"vmctl/pkg/engine"
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
	// keep makes the image's garbage collection root the machine's only one; done lets
	// another vmctl build for the machine.
	keep func() error
	done func()
}

// findImage builds or opens a machine's image. Until done is called nobody else
// touches the machine's garbage collection roots.
func (c *call) findImage(ctx context.Context, t *target, hostURI string, session, refresh bool) (*foundImage, error) {
	dirs, err := c.dirs()
	if err != nil {
		return nil, err
	}
	unlock, err := dirs.Locks(hostURI, c.progress).Lock(ctx, rootsLock(t.name))
	if err != nil {
		return nil, err
	}
	f := &foundImage{done: unlock}
	roots := dirs.GCRoots(hostURI, t.name)
	if t.machine.Image.Kind == spec.ImageFile {
		f.image, err = image.Open(ctx, t.path(t.machine.Image.Ref), image.Options{
			Source: t.machine.Image.String(), Cache: dirs.Cache, Progress: c.progress, Task: t.name + "/image",
		})
		f.keep = func() error { return builder.KeepRoots(roots) }
	} else if f.built, err = c.deps.Images(dirs, c.progress, c.log).Build(ctx, t.flake(), roots, refresh); err == nil {
		f.image, err = image.FromStore(ctx, f.built.Path, f.built.OutPath, t.machine.Image.String(), session)
		f.keep = func() error { return builder.KeepRoots(roots, f.built.OutPath) }
	}
	if err != nil {
		unlock()
		return nil, err
	}
	return f, nil
}

// look begins to look at the sources of a machine's image while the host is connected to.
func (c *call) look(ctx context.Context, t *target) {
	dirs, err := c.dirs()
	if err == nil && t.machine.Image.Kind == spec.ImageFlake {
		t.sources = c.deps.Images(dirs, c.progress, c.log).Look(ctx, t.flake())
	}
}

// rootsLock names the lock on a machine's garbage collection roots. It reads well in
// "another vmctl is working on …", and no machine can have this name.
func rootsLock(machine string) string { return "the image of " + machine }

// hasRoots says that an image was built for the machine.
func (c *call) hasRoots(hostURI, name string) bool {
	dirs, err := c.dirs()
	if err != nil {
		return false
	}
	entries, err := os.ReadDir(dirs.GCRoots(hostURI, name))
	return err == nil && len(entries) > 0
}

// dropRoots lets nix collect the images of a machine that is gone. When another vmctl
// is building for the machine, the roots are that one's to sort out.
func (c *call) dropRoots(hostURI, name string) error {
	dirs, err := c.dirs()
	if err != nil {
		return err
	}
	once, cancel := context.WithCancel(context.Background())
	cancel() // a lock that is held is not waited for
	unlock, err := dirs.Locks(hostURI, progress.Discard).Lock(once, rootsLock(name))
	if err != nil {
		return nil
	}
	defer unlock()
	return builder.KeepRoots(dirs.GCRoots(hostURI, name))
}

// flake is what to build for a machine.
func (t *target) flake() builder.Ref {
	img := t.machine.Image
	ref := builder.Ref{Flake: img.Ref, Attr: img.Attr, Machine: t.name, Display: img.Ref, TaskID: t.name + "/build", Sources: t.sources}
	// A word without a scheme is a path, never a name in nix's registry.
	if !strings.Contains(img.Ref, ":") {
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
