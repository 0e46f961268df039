package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	urfave "github.com/urfave/cli/v2"

	"vmctl/pkg/ansi"
	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/image"
	"vmctl/pkg/progress"
)

func volumeExportCommand(args *arguments) *command {
	return &command{
		name: "export", run: runVolumeExport, takes: ownWords, args: args,
		options: []option{
			{name: "format", kind: isText, value: "FORMAT", choices: []string{image.Qcow2, image.Raw}, preset: image.Qcow2, help: "what the file is to be: qcow2 or raw"},
			{name: "force", help: "replace a file that is there"},
		},
		summary: "Copy a volume into a file",
		about: []string{
			"Copies the volume from the host into FILE, or with - to standard output, as a qcow2 that takes no more room than what is in it. " +
				"--format raw makes it a plain disk with qemu-img, sparse where the file system can. The volume must not be in use by a running guest.",
			"An encrypted volume is copied encrypted; virsh secret-list and secret-get-value on the host show its key.",
		},
		examples: []example{
			{"vmctl volume export example/data data.qcow2", ""},
			{"vmctl volume export example/data - | ssh backup 'cat > data.qcow2'", ""},
		},
	}
}

func volumeImportCommand(args *arguments) *command {
	return &command{
		name: "import", run: runVolumeImport, takes: ownWords, args: args,
		summary: "Make a volume of a disk file",
		about: []string{
			"Makes the volume of FILE, a qcow2 or a raw disk, by uploading it to the host; a raw one is made a qcow2 first, with qemu-img. " +
				"The volume must not be there yet. An import that was cut short is never used, and begins anew.",
		},
		examples: []example{{"vmctl volume import example/data data.qcow2", "then: vmctl up example"}},
	}
}

// standard stands for standard output.
const standard = "-"

// file is a file that the command line names, seen from the current directory.
func (c *call) file(name string) (string, error) {
	if name == standard || filepath.IsAbs(name) {
		return name, nil
	}
	cwd, err := c.deps.Getwd()
	return filepath.Join(cwd, name), err
}

func runVolumeExport(ctx context.Context, c *call, in *urfave.Context) error {
	word, format := c.line.args[0], in.String("format")
	file, err := c.file(c.line.args[1])
	if err != nil {
		return err
	}
	switch info, err := os.Stat(file); {
	case file == standard && c.streams.OutTTY:
		return usagef("a disk is not written to a terminal").WithHint("vmctl volume export %s FILE", word)
	case file == standard:
	case err == nil && info.IsDir():
		return usagef("%s is a directory", ansi.Plain(file)).WithHint("vmctl volume export %s %s", word, ansi.Plain(filepath.Join(file, "data."+format)))
	case err == nil && !in.Bool("force"):
		return fault.New(fault.Refused, "%s is there already", ansi.Plain(file)).WithHint("--force replaces it")
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fault.New(fault.Usage, "%s cannot be written: %w", ansi.Plain(file), plainly(err))
	}
	v, err := c.volume(ctx, word)
	if err != nil {
		return err
	}
	there, err := v.e.DataVolume(ctx, v.machine, v.volume)
	if err != nil {
		return err
	}
	if there.Volume.Encrypted && format == image.Raw {
		return fault.New(fault.Refused, "volume %s is encrypted and can be exported as qcow2 only", v).WithHint("leave --format out")
	}
	if file == standard && format == image.Qcow2 {
		_, err := v.e.ExportDataVolume(ctx, v.machine, v.volume, c.streams.Out)
		return err
	}
	whole, err := c.exportFile(ctx, v, file, format)
	if err != nil {
		return err
	}
	defer whole.remove()
	if file == standard {
		return whole.copy(c.streams.Out)
	}
	if err := whole.rename(file); err != nil {
		return err
	}
	c.sayDone("%s is in %s", v, file)
	return nil
}

// exportFile brings a volume into a temporary file beside the one that is wanted.
func (c *call) exportFile(ctx context.Context, v *namedVolume, file, format string) (*partFile, error) {
	dir := filepath.Dir(file)
	if file == standard {
		dir = os.TempDir()
	}
	part, err := newPart(dir)
	if err != nil {
		return nil, err
	}
	sparse := &sparseWriter{f: part.File}
	_, err = v.e.ExportDataVolume(ctx, v.machine, v.volume, sparse)
	if err == nil {
		err = sparse.finish()
	}
	if err != nil || format == image.Qcow2 {
		if err != nil {
			part.remove()
		}
		return part, err
	}
	defer part.remove()
	raw, err := newPart(dir)
	if err != nil {
		return nil, err
	}
	disk, err := judge(part, v)
	if err == nil {
		err = c.rewrite(ctx, v, part.Name(), disk, raw.Name(), format)
	}
	if err != nil {
		raw.remove()
		return nil, err
	}
	return raw, nil
}

// judge looks at what a host gave for a volume before QEMU does: a host that has been broken into
// would have it read files of this machine.
func judge(part *partFile, v *namedVolume) (image.Info, error) {
	info, err := part.Stat()
	if err != nil {
		return image.Info{}, err
	}
	disk, err := image.CheckVolume(part, info.Size(), v.String())
	if err == nil && disk.Format != image.Qcow2 {
		err = fault.New(fault.Refused, "what the host has for volume %s is no qcow2", v)
	}
	if err != nil {
		return image.Info{}, fault.New(fault.Refused, "%w", err).WithHint("vmctl never makes such a volume: find out who changed it on the host")
	}
	return disk, nil
}

// rewrite makes a disk file of another format, and says how far it is.
func (c *call) rewrite(ctx context.Context, v *namedVolume, from string, is image.Info, to, toFormat string) error {
	event := progress.Event{ID: v.machine + "/convert", Text: "make " + toFormat + " of " + is.Format, Total: 100}
	c.progress.Emit(event)
	err := image.Rewrite(ctx, from, is, to, toFormat, func(percent float64) {
		event.Current = int64(percent)
		c.progress.Emit(event)
	})
	event.Status = progress.Done
	if err != nil {
		event.Status, event.Err = progress.Failed, err
	}
	c.progress.Emit(event)
	return err
}

func runVolumeImport(ctx context.Context, c *call, _ *urfave.Context) error {
	word := c.line.args[0]
	file, err := c.file(c.line.args[1])
	if err != nil {
		return err
	}
	f, err := os.Open(file)
	if err != nil {
		return fault.New(fault.NotFound, "%s cannot be read: %w", ansi.Plain(file), plainly(err))
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return fault.New(fault.Usage, "%s is not a file", ansi.Plain(file)).WithHint("write what comes from elsewhere into a file first")
	}
	disk, err := image.CheckVolume(f, info.Size(), file)
	if err != nil {
		return err
	}
	v, err := c.volume(ctx, word)
	if err != nil {
		return err
	}
	if v.declared != nil {
		switch {
		case v.declared.Encrypt:
			return fault.New(fault.Refused, "the definition of %s says that volume %s is encrypted, and a file is imported as it is", v.machine, v.volume).
				WithHint("make the volume with vmctl up, and copy what is in the file inside the guest")
		case disk.VirtualSize > v.declared.Size:
			return v.declaredSize(disk.VirtualSize)
		}
	}
	var content io.Reader = asJudged{f, info, file}
	length := info.Size()
	if disk.Format == image.Raw {
		part, err := newPart(os.TempDir())
		if err != nil {
			return err
		}
		defer part.remove()
		if err := c.rewrite(ctx, v, file, disk, part.Name(), image.Qcow2); err != nil {
			return err
		}
		if info, err = os.Stat(part.Name()); err != nil {
			return err
		}
		// qemu-img may have put another file in its place.
		made, err := os.Open(part.Name())
		if err != nil {
			return err
		}
		defer func() { _ = made.Close() }()
		content, length = made, info.Size()
	}
	if err := v.e.ImportDataVolume(ctx, v.machine, v.volume, content, disk.VirtualSize, length); err != nil {
		return err
	}
	c.sayDone("%s is made of %s: %s", v, file, disk.VirtualSize)
	return nil
}

// asJudged is a file as long as nobody writes to it after it was judged.
type asJudged struct {
	*os.File
	was  fs.FileInfo
	name string
}

func (a asJudged) Read(p []byte) (int, error) {
	n, err := a.File.Read(p)
	if now, broken := a.Stat(); broken != nil || !engine.Unchanged(a.was, now) {
		return 0, fault.New(fault.Refused, "%s was written to while it was imported", ansi.Plain(a.name)).
			WithHint("wait until it is written, then try again")
	}
	return n, err
}

// plainly leaves the call and the path out, which the sentence says already.
func plainly(err error) error {
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		return at.Err
	}
	return err
}

// partFile is a file that is not whole yet.
type partFile struct{ *os.File }

func newPart(dir string) (*partFile, error) {
	f, err := os.CreateTemp(dir, ".vmctl-*.part")
	if err != nil {
		return nil, fault.New(fault.Other, "no file can be written in %s: %w", ansi.Plain(dir), plainly(err))
	}
	return &partFile{f}, nil
}

// remove does away with it, unless it was given its name.
func (p *partFile) remove() {
	_ = p.Close()
	_ = os.Remove(p.Name())
}

func (p *partFile) rename(to string) error {
	err := p.Sync()
	if err == nil {
		err = os.Rename(p.Name(), to)
	}
	if err != nil {
		return fault.New(fault.Other, "%s cannot be written: %w", ansi.Plain(to), plainly(err))
	}
	return nil
}

func (p *partFile) copy(to io.Writer) error {
	f, err := os.Open(p.Name())
	if err != nil {
		return fmt.Errorf("read what was exported: %w", err)
	}
	defer func() { _ = f.Close() }()
	_, err = io.Copy(to, f)
	return err
}

// sparseWriter leaves holes where a file is zero.
type sparseWriter struct {
	f    *os.File
	size int64
}

// hole is the least that is worth one.
const hole = 64 << 10

func (w *sparseWriter) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := min(len(rest), hole)
		if !zero(rest[:n]) {
			if _, err := w.f.WriteAt(rest[:n], w.size); err != nil {
				return len(p) - len(rest), err
			}
		}
		w.size += int64(n)
		rest = rest[n:]
	}
	return len(p), nil
}

// finish gives the file its length, which may end in a hole.
func (w *sparseWriter) finish() error { return w.f.Truncate(w.size) }

func zero(p []byte) bool {
	for _, b := range p {
		if b != 0 {
			return false
		}
	}
	return true
}
