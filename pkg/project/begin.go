package project

import (
	"embed"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"vmctl/pkg/fault"
)

//go:embed template
var templates embed.FS

// File is a file to be written, with its path below the project's directory.
type File struct{ Path, Text string }

// DefinitionFile is the file of a machine's definition.
func DefinitionFile(name, text string) File {
	return File{filepath.Join(definitions, name+suffix), text}
}

// Flake are the files of the smallest flake that describes a machine: a NixOS
// configuration for a system such as x86_64-linux, pinned to a release.
func Flake(name, system string) ([]File, error) {
	dir := filepath.Join("images", name)
	fill := strings.NewReplacer("@NAME@", name, "@SYSTEM@", system)
	var files []File
	for _, file := range []string{"flake.nix", "flake.lock", "configuration.nix"} {
		text, err := templates.ReadFile("template/" + file)
		if err != nil {
			return nil, err
		}
		files = append(files, File{filepath.Join(dir, file), fill.Replace(string(text))})
	}
	return files, nil
}

// Begin writes files into a project, and none over one that is there: then it is
// fault.Refused, and nothing is written at all.
func Begin(dir string, files []File) (err error) {
	var made []string
	defer func() {
		if err == nil {
			return
		}
		for _, path := range slices.Backward(made) {
			_ = os.Remove(path) // a directory that somebody has put something in stays
		}
	}()
	for _, f := range files {
		if _, err := os.Lstat(filepath.Join(dir, f.Path)); err == nil {
			return fault.New(fault.Refused, "%s is there already, and is not written over", shorten(filepath.Join(dir, f.Path))).
				WithHint("edit it, or choose another name for the machine")
		}
	}
	for _, f := range files {
		if err := write(dir, f, &made); err != nil {
			return fault.New(kindOf(err), "%s cannot be written: %w", shorten(filepath.Join(dir, f.Path)), reason(err))
		}
	}
	return nil
}

// write makes a file and the directories above it, below dir, and notes what it made.
func write(dir string, f File, made *[]string) error {
	path := filepath.Join(dir, f.Path)
	var missing []string
	for at := filepath.Dir(path); ; at = filepath.Dir(at) {
		if _, err := os.Stat(at); err == nil || at == filepath.Dir(at) {
			break
		}
		missing = append(missing, at)
	}
	for _, at := range slices.Backward(missing) {
		if err := os.Mkdir(at, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		*made = append(*made, at)
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	*made = append(*made, path)
	_, err = file.WriteString(f.Text)
	return errors.Join(err, file.Close())
}

func kindOf(err error) fault.Kind {
	if errors.Is(err, fs.ErrExist) {
		return fault.Refused
	}
	return fault.Other
}
