package secret

import (
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"vmctl/pkg/fault"
)

// create writes a file that only its owner reads, whole or not at all; it matches
// fs.ErrExist when somebody was quicker.
func create(file string, content []byte) error {
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return unwritable(dir, err)
	}
	temporary, err := os.CreateTemp(dir, ".new-*") // 0600
	if err != nil {
		return unwritable(dir, err)
	}
	defer func() { _ = os.Remove(temporary.Name()) }()
	_, err = temporary.Write(content)
	if err == nil {
		err = temporary.Sync()
	}
	if closed := temporary.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return unwritable(file, err)
	}
	// A link never replaces what is there.
	return os.Link(temporary.Name(), file)
}

// replace writes a file that only its owner reads, whole or not at all.
func replace(file string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return unwritable(file, err)
	}
	if err := renameio.WriteFile(file, content, 0o600, renameio.WithTempDir(filepath.Dir(file))); err != nil {
		return unwritable(file, err)
	}
	return nil
}

func unwritable(file string, err error) error {
	return fault.New(fault.Other, "%s cannot be written: %w", file, err)
}
