package secret

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"vmctl/pkg/fault"
	"vmctl/pkg/safefile"
)

// create writes a file that only its owner reads, whole or not at all; it matches
// fs.ErrExist when somebody was quicker.
func create(file string, content []byte) error {
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return unwritable(dir, err)
	}
	err := safefile.Create(file, content)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return unwritable(file, err)
	}
	return err
}

// replace writes a file that only its owner reads, whole or not at all.
func replace(file string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return unwritable(file, err)
	}
	if err := safefile.Write(file, content); err != nil {
		return unwritable(file, err)
	}
	return nil
}

func unwritable(file string, err error) error {
	return fault.New(fault.Other, "%s cannot be written: %w", file, err)
}
