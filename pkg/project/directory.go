package project

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"vmctl/pkg/fault"
)

// Directory is the directory that a definition names, absolute and without symbolic
// links. It has to be there.
func (p Project) Directory(name string) (string, error) {
	at := name
	if !filepath.IsAbs(at) {
		at = filepath.Join(p.Dir, name)
	}
	real, err := filepath.EvalSymlinks(at)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fault.New(fault.NotFound, "there is no directory %s", shorten(at))
	case err != nil:
		return "", fault.New(fault.Other, "%s cannot be looked into: %w", shorten(at), reason(err))
	}
	info, err := os.Stat(real)
	switch {
	case err != nil:
		return "", fault.New(fault.Other, "%s cannot be looked into: %w", shorten(at), reason(err))
	case !info.IsDir():
		return "", fault.New(fault.NotFound, "%s is not a directory", shorten(at))
	}
	return real, nil
}
