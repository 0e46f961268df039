// Package project finds the directory that holds domain/ and images/, and loads
// the machines defined in it. It changes no file that is there; what a definition
// means is pkg/spec's business.
package project

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"vmctl/pkg/ansi"
	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

const (
	// definitions is the directory that makes a directory a project.
	definitions = "domain"
	suffix      = ".yaml"
)

// Project is a directory with domain/ in it.
type Project struct {
	// Dir is absolute.
	Dir string
}

// Find is the project that dir lies in: dir itself or the nearest directory above
// that holds domain/. An empty dir is the current directory. Without a project it
// is fault.NotFound. One above dir that somebody else made is passed over: nobody chose
// it, and definitions run commands.
func Find(dir string) (Project, error) {
	start, err := filepath.Abs(dir)
	if err != nil {
		return Project{}, fault.New(fault.Other, "the current directory is gone: %w", err).WithHint("cd to a directory that exists")
	}
	switch info, err := os.Stat(start); {
	case errors.Is(err, fs.ErrNotExist):
		return Project{}, fault.New(fault.NotFound, "there is no directory %s", shorten(start))
	case err != nil:
		return Project{}, fault.New(fault.Other, "%s cannot be looked into: %w", shorten(start), reason(err))
	case !info.IsDir():
		return Project{}, fault.New(fault.NotFound, "%s is not a directory", shorten(start)).
			WithHint("name the directory that holds domain/ with -C")
	}
	theirs := ""
	for at := start; ; at = filepath.Dir(at) {
		switch info, err := os.Stat(filepath.Join(at, definitions)); {
		case err != nil || !info.IsDir():
		case at == start || own(at):
			return Project{Dir: at}, nil
		case theirs == "":
			theirs = at
		}
		switch {
		case at != filepath.Dir(at):
		case theirs != "":
			return Project{}, fault.New(fault.NotFound, "there is no vmctl project of yours here: %s is another user's", theirs).
				WithHint("if you trust them with what you may do, name it: -C %s", ansi.ShellWord(theirs))
		default:
			return Project{}, fault.New(fault.NotFound, "there is no vmctl project here: neither %s nor a directory above it holds domain/", start).
				WithHint("go to the project, name it with -C DIR, or begin one: vmctl init NAME")
		}
	}
}

// Path is where the machine's definition is, or would be.
func (p Project) Path(name string) string {
	return filepath.Join(p.Dir, definitions, name+suffix)
}

// Names are the machines that have a definition, sorted. Files with other names
// are no machines; see LoadAll.
func (p Project) Names() ([]string, error) {
	files, err := p.files()
	if err != nil {
		return nil, err
	}
	names := []string{}
	for _, file := range files {
		if name, ok := strings.CutSuffix(file, suffix); ok && spec.CheckName(name) == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// files are the names in domain/, without the hidden and back-up files that
// editors leave there.
func (p Project) files() ([]string, error) {
	dir := filepath.Join(p.Dir, definitions)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fault.New(fault.NotFound, "%s cannot be read: %w", shorten(dir), reason(err))
	}
	var files []string
	for _, entry := range entries {
		if name := entry.Name(); !strings.HasPrefix(name, ".") && !strings.HasPrefix(name, "#") && !strings.HasSuffix(name, "~") {
			files = append(files, name)
		}
	}
	return files, nil
}
