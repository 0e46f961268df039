// Package iso writes small ISO 9660 file systems: a label and files in one directory,
// with Rock Ridge's names for Linux and Joliet's for others. The same files give the same
// bytes. It reads none.
package iso

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"vmctl/pkg/fault"
)

// File is one file of the root directory, readable for root alone.
type File struct {
	// Name has letters, digits, dots, hyphens and underscores.
	Name    string
	Content []byte
}

const (
	sector = 2048
	// MaxSize bounds what goes into one: it is for what a guest is told, not for data.
	MaxSize = 16 << 20
	// maxName is what Joliet's readers take beyond its 64, and what a record has room for.
	maxName  = 100
	maxFiles = 1000
	// reserved sectors come first; then the descriptors follow.
	reserved = 16
)

var (
	names  = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)
	labels = regexp.MustCompile(`^[A-Za-z0-9_-]{1,16}$`)
)

// Write makes a file system called label.
func Write(label string, files []File) ([]byte, error) {
	if !labels.MatchString(label) {
		return nil, fault.New(fault.Invalid, "%q cannot be the label of a disk", label)
	}
	if err := check(files); err != nil {
		return nil, err
	}
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })

	// Descriptors, then for each of the two trees a table of paths in either byte order
	// and a directory, then the files.
	next := reserved + 3
	trees := []*tree{{rock: true}, {}}
	for _, t := range trees {
		t.paths = next
		t.root, t.rootSize = next+2, t.directorySize(files)
		next = t.root + t.rootSize/sector
	}
	extents := make([]int, len(files))
	for i, f := range files {
		extents[i] = next
		next += (len(f.Content) + sector - 1) / sector
	}
	out := make([]byte, next*sector)
	at := func(n int) []byte { return out[n*sector:] }
	trees[0].descriptor(at(reserved), label, next)
	trees[1].descriptor(at(reserved+1), label, next)
	copy(at(reserved+2), "\xffCD001\x01")
	for _, t := range trees {
		t.pathTables(at(t.paths), at(t.paths+1))
		t.directory(at(t.root), files, extents)
	}
	for i, f := range files {
		copy(at(extents[i]), f.Content)
	}
	return out, nil
}

func check(files []File) error {
	if len(files) > maxFiles {
		return fault.New(fault.Invalid, "%d files are too many: the most is %d", len(files), maxFiles)
	}
	total := 0
	seen := map[string]bool{}
	for _, f := range files {
		total += len(f.Content)
		switch {
		case len(f.Name) > maxName || !names.MatchString(f.Name):
			return fault.New(fault.Invalid, "%q cannot be the name of a file", f.Name)
		case seen[f.Name]:
			return fault.New(fault.Invalid, "there are two files called %s", f.Name)
		case total > MaxSize:
			return fault.New(fault.Invalid, "the files are larger than %d MiB", MaxSize>>20)
		}
		seen[f.Name] = true
	}
	return nil
}

// plainName is a name as ISO 9660 itself has it, for readers that know no extension.
func plainName(i int) []byte { return fmt.Appendf(nil, "FILE%04d.;1", i) }
