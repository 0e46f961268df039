package state

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"vmctl/pkg/fault"
	"vmctl/pkg/safefile"
)

// Notes are small files about things that have a name, such as where images came from.
// They may be lost: nothing is decided by them.
type Notes struct{ dir string }

// Images are notes about images, by their IDs.
func (d Dirs) Images() Notes { return Notes{filepath.Join(d.State, "images")} }

// Applied are notes about the machines of a host whose guests were brought to a system without
// a new image: only of those is it worth to ask the host first.
func (d Dirs) Applied(hostURI string) Notes {
	return Notes{filepath.Join(d.State, "applied", fileName(hostURI))}
}

// Reports are notes about what the guests on a host said of themselves, by their machines.
func (d Dirs) Reports(hostURI string) Notes {
	return Notes{filepath.Join(d.State, "hosts", fileName(hostURI))}
}

const (
	noteSuffix  = ".json"
	maxNote     = 64 << 10
	maxNoteName = 200
)

var noteName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.+-]*$`)

// Read is the note about a name, or nothing.
func (n Notes) Read(name string) []byte {
	file, ok := n.file(name)
	if !ok {
		return nil
	}
	if info, err := os.Stat(file); err != nil || info.Size() > maxNote {
		return nil
	}
	data, _ := os.ReadFile(file) // no note is as good as one that cannot be read
	return data
}

// Write replaces the note about a name.
func (n Notes) Write(name string, data []byte) error {
	file, ok := n.file(name)
	if !ok {
		return fault.New(fault.Other, "there can be no note about %q", name)
	}
	if err := os.MkdirAll(n.dir, 0o700); err != nil {
		return err
	}
	return safefile.Write(file, data)
}

// Tidy removes what a write of the note that was killed has left.
func (n Notes) Tidy(name string) {
	if file, ok := n.file(name); ok {
		safefile.Tidy(file)
	}
}

// Names are the names that there are notes about.
func (n Notes) Names() []string {
	entries, _ := os.ReadDir(n.dir)
	var names []string
	for _, entry := range entries {
		if name, ok := strings.CutSuffix(entry.Name(), noteSuffix); ok {
			names = append(names, name)
		}
	}
	return names
}

// Remove removes the note about a name.
func (n Notes) Remove(name string) {
	if file, ok := n.file(name); ok {
		_ = safefile.Remove(file)
	}
}

func (n Notes) file(name string) (string, bool) {
	return filepath.Join(n.dir, name+noteSuffix), len(name) <= maxNoteName && noteName.MatchString(name)
}
