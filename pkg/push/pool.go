package push

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"golang.org/x/sys/unix"
)

// pool is a storage pool's directory. Files in it are opened by their bare names and
// never through a link: whoever may write there must not lead the agent elsewhere.
type pool struct{ dir *os.File }

// image is what the file of an image is called, and committed what is appended for the
// one that says that it is whole (engine.BaseVolume, engine.CommitVolume).
var image = regexp.MustCompile(`^base-[A-Za-z0-9.-]+\.(qcow2|raw)$`)

const committed = ".ok"

func openPool(dir string) (*pool, error) {
	if !filepath.IsAbs(dir) {
		return nil, fmt.Errorf("the pool's directory %q is no absolute path", dir)
	}
	f, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	return &pool{f}, nil
}

func (p *pool) close() { _ = p.dir.Close() }

// open opens a regular file of the pool.
func (p *pool) open(name string, flags int) (*os.File, error) {
	if !image.MatchString(name) {
		return nil, fmt.Errorf("%q is not the name of an image", name)
	}
	// A pipe must not make it wait.
	fd, err := unix.Openat(int(p.dir.Fd()), name, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	f := os.NewFile(uintptr(fd), name)
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file", name)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// whole says that an image is one that others may use.
func (p *pool) whole(name string) (bool, error) {
	err := unix.Faccessat(int(p.dir.Fd()), name+committed, unix.F_OK, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	return err == nil, err
}

// target opens the file that becomes an image. It is there, as libvirt made it, and no
// image yet.
func (p *pool) target(name string) (*os.File, error) {
	f, err := p.open(name, unix.O_RDWR)
	if err != nil {
		return nil, err
	}
	if whole, err := p.whole(name); err != nil || whole {
		_ = f.Close()
		return nil, cmp.Or(err, fmt.Errorf("%s is an image already", name))
	}
	return f, nil
}

// sources are the images of the pool, the youngest first: it has most in common with the
// next one.
func (p *pool) sources() ([]*os.File, error) {
	const most = 64
	type found struct {
		name string
		made int64
	}
	var all []found
	for {
		names, err := p.dir.Readdirnames(1 << 10)
		for _, name := range names {
			var info unix.Stat_t
			if !image.MatchString(name) || unix.Fstatat(int(p.dir.Fd()), name, &info, unix.AT_SYMLINK_NOFOLLOW) != nil {
				continue
			}
			if whole, err := p.whole(name); err == nil && whole {
				all = append(all, found{name, info.Mtim.Nano()})
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(all, func(a, b found) int { return cmp.Or(cmp.Compare(b.made, a.made), cmp.Compare(a.name, b.name)) })
	var files []*os.File
	for _, f := range all[:min(len(all), most)] {
		// One that went meanwhile, or may not be read, is not copied from.
		if file, err := p.open(f.name, unix.O_RDONLY); err == nil {
			files = append(files, file)
		}
	}
	return files, nil
}
