// Package hosts knows the names that a user gave to libvirt hosts: a file of lines
// NAME: URI in their configuration. It connects to none of them.
package hosts

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"vmctl/pkg/fault"
	"vmctl/pkg/safefile"
	"vmctl/pkg/spec"
)

// maxBytes bounds the file that is read; a real one has a few lines.
const maxBytes = 1 << 20

// Host is a libvirt host with a name.
type Host struct{ Name, URI string }

// name is what a host can be called: nothing that could be a URI or a flag.
var name = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

const maxName = 63

// CheckName refuses what can be no name of a host.
func CheckName(s string) error {
	if len(s) <= maxName && name.MatchString(s) {
		return nil
	}
	return fault.New(fault.Usage, "%q cannot be the name of a host", s).
		WithHint("letters, digits, . - and _, beginning with a letter or digit, at most 63")
}

// File is the user's list of hosts. Comments and the order of lines are theirs and stay.
type File struct {
	path  string
	lines []string
	hosts []Host
}

// Open reads the file; one that is not there lists no hosts. What is wrong in it is
// said with the number of the line.
func Open(path string) (*File, error) {
	f := &File{path: path}
	info, err := os.Stat(path)
	if os.IsNotExist(err) {
		return f, nil
	}
	if err == nil && (!info.Mode().IsRegular() || info.Size() > maxBytes) {
		return nil, fault.New(fault.Invalid, "%s cannot be a list of hosts", path).WithHint("move it away, then: vmctl host add NAME URI")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.New(fault.Other, "the list of hosts cannot be read: %w", err)
	}
	f.lines = strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	for i, line := range f.lines {
		host, ok, err := parseLine(line)
		if err == nil && ok && slices.ContainsFunc(f.hosts, host.called) {
			err = fault.New(fault.Invalid, "the host %s is here twice", host.Name)
		}
		if err != nil {
			return nil, fault.New(fault.Invalid, "%s:%d: %w", path, i+1, err).WithHint("a line is NAME: URI, such as server: qemu+ssh://root@server.example.org/system")
		}
		if ok {
			f.hosts = append(f.hosts, host)
		}
	}
	return f, nil
}

func (h Host) called(other Host) bool { return h.Name == other.Name }

// parseLine reads one line; false is one without a host.
func parseLine(line string) (Host, bool, error) {
	text := strings.TrimSpace(line)
	if text == "" || text[0] == '#' {
		return Host{}, false, nil
	}
	called, uri, ok := strings.Cut(text, ":")
	called, uri = strings.TrimSpace(called), strings.TrimSpace(uri)
	if before, _, comment := strings.Cut(uri, " #"); comment {
		uri = strings.TrimSpace(before)
	}
	switch {
	case !ok || uri == "":
		return Host{}, false, fault.New(fault.Invalid, "%q names no URI", called)
	case strings.ContainsAny(uri, " \t\"'"):
		return Host{}, false, fault.New(fault.Invalid, "%q is not a URI", uri)
	}
	return Host{called, uri}, true, CheckName(called)
}

// All are the hosts in the file's order.
func (f *File) All() []Host { return slices.Clone(f.hosts) }

// Names are the hosts' names.
func (f *File) Names() []string {
	names := make([]string, len(f.hosts))
	for i, h := range f.hosts {
		names[i] = h.Name
	}
	return names
}

// URI is where the host of that name is; false without one.
func (f *File) URI(called string) (string, bool) {
	for _, h := range f.hosts {
		if h.Name == called {
			return h.URI, true
		}
	}
	return "", false
}

// Unknown is the error for a name that no host has.
func (f *File) Unknown(called string) error {
	err := fault.New(fault.NotFound, "there is no host %s in %s", called, f.path)
	if near := spec.Nearest(called, f.Names()); near != "" {
		return err.WithHint("did you mean %s?", near)
	}
	return err.WithHint("vmctl host list shows the hosts; vmctl host add %s URI adds this one", called)
}

// Add writes a host at the end of the file. A name that has another URI is refused.
func (f *File) Add(h Host) error {
	if err := CheckName(h.Name); err != nil {
		return err
	}
	if uri, ok := f.URI(h.Name); ok {
		if uri == h.URI {
			return nil
		}
		return fault.New(fault.Refused, "there is a host %s already: %s", h.Name, uri).
			WithHint("vmctl host remove %s first, or choose another name", h.Name)
	}
	line := h.Name + ": " + h.URI
	if again, ok, err := parseLine(line); err != nil || !ok || again != h || !strings.Contains(h.URI, "://") {
		return fault.New(fault.Usage, "%q is not a connection URI", h.URI).
			WithHint("write it as qemu:///system or qemu+ssh://user@host/system")
	}
	f.lines, f.hosts = append(f.lines, line), append(f.hosts, h)
	return f.write()
}

// Remove takes a host out of the file. Its machines run on.
func (f *File) Remove(called string) error {
	if _, ok := f.URI(called); !ok {
		return f.Unknown(called)
	}
	f.lines = slices.DeleteFunc(f.lines, func(line string) bool {
		h, ok, err := parseLine(line)
		return ok && err == nil && h.Name == called
	})
	f.hosts = slices.DeleteFunc(f.hosts, func(h Host) bool { return h.Name == called })
	return f.write()
}

// write replaces the file as a whole: nobody ever reads half of it.
func (f *File) write() error {
	text := strings.Join(f.lines, "\n")
	if text != "" {
		text += "\n"
	}
	err := os.MkdirAll(filepath.Dir(f.path), 0o700)
	if err == nil {
		err = safefile.Write(f.path, []byte(text))
	}
	if err != nil {
		return fault.New(fault.Other, "the list of hosts cannot be written: %w", err).WithHint("check that %s can be written to", filepath.Dir(f.path))
	}
	return nil
}
