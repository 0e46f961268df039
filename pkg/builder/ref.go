package builder

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"

	"vmctl/pkg/fault"
)

// localPath is what nix 2.8 reads as the path of a flake. A space or a % has no
// spelling that it understands, not even in a URL.
var localPath = regexp.MustCompile(`^/[0-9a-zA-Z._~!$&'"()*+,;=/-]*$`)

// local says that the flake is a directory here.
func (r Ref) local() bool { return filepath.IsAbs(r.Flake) }

func (r Ref) display() string {
	if r.Display != "" {
		return r.Display
	}
	return r.Flake
}

// subject is the flake as a sentence can speak of it.
func (r Ref) subject() string {
	if filepath.Clean(r.display()) == "." {
		return "the flake here"
	}
	return r.display()
}

// undone is what has failed, as in "could not be built".
func (r Ref) undone() string {
	if r.done != "" {
		return r.done
	}
	return "built"
}

func (r Ref) machine() string {
	if r.Machine != "" {
		return r.Machine
	}
	return defaultName
}

func (r Ref) task() string {
	if r.TaskID != "" {
		return r.TaskID
	}
	return "build"
}

// show is a file below the flake or its repository in the words the person used for
// the flake: relative to where Display is relative to.
func (r Ref) show(file string) string {
	shown := filepath.Clean(r.display())
	base, ok := strings.CutSuffix(r.Flake, "/"+shown)
	if shown == "." {
		base, ok = r.Flake, true
	}
	if rel, err := filepath.Rel(base, file); ok && err == nil && filepath.IsLocal(rel) {
		return rel
	}
	return file
}

// check refuses what cannot be a flake before nix sees it: nix would search the
// parent directories, and build something nobody asked for. It gives the Ref with
// links in a directory's path resolved, as nix versions differ in what they do there.
func (r Ref) check() (Ref, error) {
	bad := strings.ContainsFunc(r.Flake, func(c rune) bool { return unicode.IsControl(c) || c == '#' })
	if r.Flake == "" || bad || strings.HasPrefix(r.Flake, "-") {
		return r, fault.New(fault.Invalid, "%q is not the directory or URL of a flake", r.Flake).
			WithHint("write a directory such as images/example, or a URL such as github:owner/repo")
	}
	r.Display = r.display()
	if !r.local() {
		return r, nil
	}
	dir, err := filepath.EvalSymlinks(r.Flake)
	if os.IsNotExist(err) {
		if r.done != "" {
			return r, fault.New(fault.NotFound, "there is no directory %s", r.display())
		}
		return r, fault.New(fault.NotFound, "there is no directory %s to build the image from", r.display()).
			WithHint("create it with a flake.nix, or correct image: in the definition")
	}
	if err != nil {
		return r, fault.New(fault.Build, "the flake %s cannot be read: %w", r.display(), err)
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return r, fault.New(fault.Invalid, "%s is not the directory of a flake", r.display()).
			WithHint("name the directory that holds flake.nix")
	}
	if file, err := os.Open(filepath.Join(dir, "flake.nix")); err != nil {
		none := fault.New(fault.NotFound, "%s is not a flake: it holds no readable flake.nix", r.display())
		if r.done != "" {
			return r, none
		}
		return r, none.WithHint("write %s, or correct image: in the definition", filepath.Join(r.display(), "flake.nix"))
	} else {
		_ = file.Close()
	}
	if !localPath.MatchString(dir) {
		return r, fault.New(fault.Build, "nix cannot read a flake below a path with spaces or special characters: %q", dir).
			WithHint("move the project to a plain path")
	}
	r.Flake = dir
	return r, nil
}
