package project

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// Load reads the definition of one machine. A name that can be no machine's is
// fault.Usage, one without a definition fault.NotFound, and a definition that
// cannot be read or is wrong fault.Invalid.
func (p Project) Load(name string) (*spec.Machine, error) {
	d, err := p.Read(name)
	if err != nil {
		return nil, err
	}
	return d.Machine()
}

// Definition is a definition as it was read, so that it can be read again over what a
// NixOS configuration says of the machine. The zero Data is of no definition.
type Definition struct {
	// Name is the machine's, File what reports call the file.
	Name, File string
	Data       []byte
}

// Read is Load without looking into the definition.
func (p Project) Read(name string) (Definition, error) {
	if err := spec.CheckName(name); err != nil {
		return Definition{}, err
	}
	path := p.Path(name)
	data, err := read(path)
	if errors.Is(err, errAbsent) {
		return Definition{}, p.unknown(name)
	}
	return Definition{Name: name, File: shorten(path), Data: data}, err
}

// Machine is what the definition alone declares.
func (d Definition) Machine() (*spec.Machine, error) { return spec.Parse(d.Name, d.File, d.Data) }

// Describe is what it declares over what a configuration says.
func (d Definition) Describe(said spec.Description) (*spec.Machine, error) {
	return spec.Describe(d.Name, d.File, d.Data, said)
}

// LoadAll reads every definition. It gives the machines that are right, sorted by
// name, and one error with everything that is wrong in all files, files with names
// that make them no definition included.
func (p Project) LoadAll() ([]*spec.Machine, error) {
	files, err := p.files()
	if err != nil {
		return nil, err
	}
	var machines []*spec.Machine
	var problems []error
	for _, file := range files {
		name, isDefinition := strings.CutSuffix(file, suffix)
		if !isDefinition {
			problems = append(problems, misnamed(shorten(filepath.Join(p.Dir, definitions, file))))
			continue
		}
		data, err := read(p.Path(name))
		if err != nil {
			problems = append(problems, err)
			continue
		}
		// Parse and not Load: a bad name is the file's fault here.
		machine, err := spec.Parse(name, shorten(p.Path(name)), data)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		machines = append(machines, machine)
	}
	return machines, spec.Join(problems...)
}

// misnamed is a problem for files that look like definitions, and nil for others:
// a README in domain/ is nobody's business.
func misnamed(file string) error {
	base, ok := strings.CutSuffix(file, ".yml")
	if !ok {
		return nil
	}
	return &spec.Error{Problems: []spec.Problem{{
		File: file, Msg: "the file is not read: definitions end in .yaml", Hint: fmt.Sprintf("rename it to %s.yaml", base),
	}}}
}

// unknown says that there is no such machine, and what there is.
func (p Project) unknown(name string) error {
	names, err := p.Names()
	if err != nil {
		return err
	}
	if _, err := os.Lstat(filepath.Join(p.Dir, definitions, name+".yml")); err == nil {
		return fault.New(fault.NotFound, "there is no machine called %s: domain/%s.yml is not read, because definitions end in .yaml", name, name).
			WithHint("mv %s %s", shorten(filepath.Join(p.Dir, definitions, name+".yml")), shorten(p.Path(name)))
	}
	if near := spec.Nearest(name, names); near != "" {
		return fault.New(fault.NotFound, "there is no machine called %s; did you mean %s?", name, near).
			WithHint("the project's machines are %s", enumerate(names))
	}
	absent := fault.New(fault.NotFound, "there is no machine called %s", name)
	if len(names) == 0 {
		return absent.WithHint("the project has no machines yet: vmctl init %s", name)
	}
	return absent.WithHint("the project's machines are %s", enumerate(names))
}

func enumerate(names []string) string {
	const most = 12
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

var errAbsent = errors.New("no such definition")

// read gives a definition's bytes, a little more than are allowed at most. It
// never blocks: what is in domain/ may be a pipe.
func read(path string) ([]byte, error) {
	bad := func(format string, args ...any) *fault.Error {
		return fault.New(fault.Invalid, "%s "+format, append([]any{shorten(path)}, args...)...)
	}
	target, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		if link, err := os.Readlink(path); err == nil {
			return nil, bad("is a link to %s, which is not there", link)
		}
		return nil, errAbsent
	}
	if err == nil {
		err = notAFile(target)
	}
	if err != nil {
		return nil, bad("cannot be read: %w", reason(err))
	}
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, bad("cannot be read: %w", reason(err))
	}
	defer file.Close()
	// Again, of what was opened: it may have been replaced in between.
	if target, err = file.Stat(); err == nil {
		err = notAFile(target)
	}
	var data []byte
	if err == nil {
		data, err = io.ReadAll(io.LimitReader(file, spec.MaxBytes+1))
	}
	if err != nil {
		return nil, bad("cannot be read: %w", reason(err))
	}
	return data, nil
}

func notAFile(info fs.FileInfo) error {
	switch mode := info.Mode(); {
	case mode.IsRegular():
		return nil
	case mode.IsDir():
		return errors.New("it is a directory")
	default:
		return errors.New("it is not a regular file")
	}
}

// reason is err without the path, which the sentence around it names already.
func reason(err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Err
	}
	return err
}

// shorten is path as seen from the current directory, where that is shorter.
func shorten(path string) string {
	here, err := os.Getwd()
	if err != nil {
		return path
	}
	if relative, err := filepath.Rel(here, path); err == nil && len(relative) < len(path) {
		return relative
	}
	return path
}
