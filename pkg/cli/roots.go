package cli

import (
	"context"
	"os"
	"path/filepath"

	"vmctl/pkg/builder"
	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
	"vmctl/pkg/state"
)

// buildSpace is the lock space of builds for no host.
const buildSpace = "build"

// rootsLock names the lock on a machine's garbage collection roots. It reads well in
// "another vmctl is working on …", and no machine can have this name.
func rootsLock(machine string) string { return "the image of " + machine }

// dropRoots lets nix collect what a directory of roots keeps. When another vmctl is
// building for the machine, the roots are that one's to sort out. sure is asked under the
// lock whether nothing uses them; nil where the caller knows, and keeps it so.
func dropRoots(locks *state.Locks, machine, dir string, sure func() bool) error {
	unlock, ok := locks.Try(rootsLock(machine))
	if !ok {
		return nil
	}
	defer unlock()
	if sure != nil && !sure() {
		return nil
	}
	return builder.KeepRoots(dir)
}

// dropMachineRoots drops the roots of a machine that is gone. It is called while the
// machine's lock is held: nobody can be bringing it up.
func (c *call) dropMachineRoots(hostURI, name string) error {
	dirs, err := c.dirs()
	if err != nil {
		return err
	}
	return dropRoots(c.locks(dirs, hostURI), name, dirs.GCRoots(hostURI, name), nil)
}

// dropBuildRoots drops the roots that vmctl build made for a machine of the project: its
// image is kept by the machine's own now, or it has been taken down.
func (c *call) dropBuildRoots(t *target) {
	dirs, err := c.dirs()
	if err != nil || t.project == nil {
		return
	}
	dir := dirs.BuildRoots(t.project.Dir, t.name)
	if _, err := os.Lstat(dir); err == nil {
		// What stays is image prune's to remove.
		_ = dropRoots(c.locks(dirs, buildSpace), t.name, dir, nil)
	}
}

// abandon drops the roots of a machine that did not come to be, while its roots' lock is
// held. A machine that is there keeps all: nobody knows which image it uses now.
func (f *foundImage) abandon(ctx context.Context, host *engine.Host, name string) {
	if f.roots == "" && f.there == nil {
		return
	}
	_ = f.built.Kept()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abandonTime)
	defer cancel()
	if _, err := host.Domains.Domain(ctx, name); fault.Is(err, fault.NotFound) {
		// image prune tries again.
		if f.there != nil {
			_ = f.there.Keep(ctx, "")
		}
		_ = builder.KeepRoots(f.roots)
	}
}

// dropUnused is abandon for an image that was built and then not had after all, as when
// somebody pressed Ctrl-C between the two.
func (c *call) dropUnused(ctx context.Context, t *target, e *engine.Engine) {
	dirs, err := c.dirs()
	if err != nil {
		return
	}
	dir := dirs.GCRoots(e.Host.URI, t.name)
	if _, err := os.Lstat(dir); err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abandonTime)
	defer cancel()
	// image prune tries again.
	_ = dropRoots(c.locks(dirs, e.Host.URI), t.name, dir, func() bool {
		_, err := e.Host.Domains.Domain(ctx, t.name)
		return fault.Is(err, fault.NotFound)
	})
}

// removeEmptyRoots removes the directory that a build which failed has made.
func removeEmptyRoots(dir string) {
	if dir != "" && os.Remove(dir) == nil {
		_ = os.Remove(filepath.Dir(dir))
	}
}

// keepBuild makes what was just built the only thing that is kept for the machine
// without a host, until an up or a down of the machine, or until the machine is in its
// project no more.
func (c *call) keepBuild(t *target, f *foundImage) error {
	if err := f.keep(); err != nil || t.machine.Image.Kind != spec.ImageFlake {
		return err
	}
	return state.NoteProject(f.roots, t.project.Dir)
}
