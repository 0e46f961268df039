package guest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"vmctl/pkg/ansi"
	"vmctl/pkg/fault"
)

// Copy is one copy between this machine and a guest.
type Copy struct {
	Runner Runner
	// Machine is the guest's name, for errors.
	Machine string
	// Recursive allows directories.
	Recursive bool
	// Moved is told how many bytes have been moved, and how many there are in all; 0 where
	// nobody knows.
	Moved func(bytes, all int64)
	// Skipped is told of what is neither a file nor a directory nor a link.
	Skipped func(path string)
}

// tidyTime bounds what is removed after a copy that did not come to its end.
const tidyTime = 10 * time.Second

// run1 runs a program that has to succeed; its last word on stderr is the reason.
func run1(ctx context.Context, r Runner, c Command, doing string) error {
	var diag tail
	c.Stderr = &diag
	status, err := r.Run(ctx, c)
	if err == nil && status != 0 {
		why := "exit status " + strconv.Itoa(status)
		if lines := diag.lines(); len(lines) > 0 {
			why = strings.TrimSpace(lines[len(lines)-1])
		}
		kind := fault.Other
		if strings.Contains(why, "No such file") || strings.Contains(why, "no such file") || strings.Contains(why, "there is no") {
			kind = fault.NotFound
		}
		err = fault.New(kind, "cannot %s in the guest: %s", doing, ansi.Plain(why))
	}
	return err
}

// ask runs a script for what it prints.
func (c *Copy) ask(ctx context.Context, doing, text string, arguments ...string) (string, error) {
	var out strings.Builder
	err := run1(ctx, c.Runner, Command{Argv: script(text, arguments...), Stdout: limited{&out}}, doing)
	return out.String(), err
}

// guestPath is a path as a person writes it: relative ones are the home directory's,
// where scripts begin.
func guestPathOf(p string) string {
	if p == "~" || p == "" {
		return "."
	}
	if rest, ok := strings.CutPrefix(p, "~/"); ok {
		p = rest
	}
	if strings.HasPrefix(p, "/") || strings.HasPrefix(p, "./") {
		return p
	}
	return "./" + p
}

// prepareScript finds out what a copy to $1 makes, where $2 is the source's name and $3 f
// for a file or d for a directory, and whether the guest can unpack (z).
const prepareScript = `case $1 in */) [ -d "$1" ] || { echo "there is no directory $1" >&2; exit 1; } ;; esac
to=$1
[ ! -d "$to" ] || to=${to%/}/$2
[ ! -L "$to" ] || to=$(readlink -f "$to")
up=$(dirname "$to")
[ -d "$up" ] || { echo "there is no directory $up" >&2; exit 1; }
if [ "$3" = f ] && [ -d "$to" ]; then echo "$to is a directory" >&2; exit 1; fi
if [ "$3" = f ] && [ -e "$to" ] && [ ! -f "$to" ]; then echo "$to is no ordinary file" >&2; exit 1; fi
if [ "$3" = d ] && [ -e "$to" ] && [ ! -d "$to" ]; then echo "$to is no directory" >&2; exit 1; fi
case $up in /*) ;; *) up=$(cd "$up" && pwd) ;; esac
if command -v gunzip >/dev/null; then z=z; else z=-; fi
printf '%s %s/%s' $z "${up%/}" "${to##*/}"`

// finishScript puts what was copied to $1 in its place $2, with mode $3. A file keeps the
// owner of the one that it replaces.
const finishScript = `if [ -d "$1" ]; then
	chmod "$3" "$1"
	if [ -d "$2" ]; then (cd "$1" && tar -cf - .) | tar -xof - -C "$2" && rm -rf "$1"; else mv "$1" "$2"; fi
else
	chmod "$3" "$1" || exit 1
	owner=$(stat -c %u:%g "$2" 2>/dev/null) && chown "$owner" "$1"
	mv -f "$1" "$2"
fi`

// Upload copies a file or a directory of this machine into the guest. What is at its
// place in the guest is replaced only when all of it has arrived.
func (c *Copy) Upload(ctx context.Context, from, to string) (err error) {
	info, err := os.Stat(from)
	if err != nil {
		return localError(err, from)
	}
	kind := "f"
	switch {
	case info.IsDir() && !c.Recursive:
		return fault.New(fault.Usage, "%s is a directory", from).WithHint("vmctl cp -r copies directories")
	case info.IsDir():
		kind = "d"
	case !info.Mode().IsRegular():
		return fault.New(fault.Refused, "%s is neither a file nor a directory", from)
	}
	absolute, err := filepath.Abs(from)
	if err != nil {
		return localError(err, from)
	}
	answer, err := c.ask(ctx, "copy to "+to, prepareScript, guestPathOf(to), filepath.Base(absolute), kind)
	if err != nil {
		return err
	}
	unpacks, final, _ := strings.Cut(answer, " ")
	agent, _ := c.Runner.(*Agent)
	if unpacks != "z" {
		agent = nil
	}
	if !path.IsAbs(final) || strings.ContainsAny(final, "\x00\n") {
		return fault.New(fault.Refused, "%s does not say where %s is", c.Machine, to)
	}
	temporary := path.Join(path.Dir(final), ".vmctl-"+rand.Text())
	defer func() {
		if err != nil {
			c.tidy(ctx, temporary)
		}
	}()
	if kind == "d" {
		err = c.sendTree(ctx, absolute, temporary, agent != nil)
	} else {
		err = c.sendFile(ctx, absolute, info.Size(), temporary, agent)
	}
	if err != nil {
		return err
	}
	_, err = c.ask(ctx, "put "+final+" in its place", finishScript, temporary, final, fmt.Sprintf("%o", info.Mode().Perm()))
	return err
}

// tidy removes a half copy, also after an interruption.
func (c *Copy) tidy(ctx context.Context, temporary string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyTime)
	defer cancel()
	_, _ = c.ask(ctx, "remove "+temporary, `rm -rf "$@"`, temporary, packedName(temporary))
}

// sendFile sends a file; squeezing is the agent that it goes through, if what goes
// through it can be unpacked.
func (c *Copy) sendFile(ctx context.Context, from string, size int64, to string, squeezing *Agent) error {
	file, err := os.Open(from)
	if err != nil {
		return localError(err, from)
	}
	defer func() { _ = file.Close() }()
	source := &meter{r: file, all: size, tell: c.Moved}
	if squeezing != nil && squeezes(file, size) {
		return c.sendSqueezed(ctx, squeezing, source, to)
	}
	return filesOf(c.Runner).writeFile(ctx, to, source)
}

func (c *Copy) sendTree(ctx context.Context, from, to string, squeezing bool) error {
	all, err := treeSize(from)
	if err != nil {
		return localError(err, from)
	}
	r, w := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		err := pack(ctx, from, &meter{w: w, all: all, tell: c.Moved}, c.Skipped)
		_ = w.CloseWithError(err)
		packed <- err
	}()
	var source io.ReadCloser = r
	if squeezing {
		source = squeeze(r)
	}
	err = run1(ctx, c.Runner, Command{Argv: script(unpackTree(squeezing), to), Stdin: source}, "unpack")
	_ = r.Close()
	_ = source.Close()
	if broken := <-packed; broken != nil && !errors.Is(broken, io.ErrClosedPipe) {
		return broken
	}
	return err
}

// look asks what is at a path: its kind, and its mode and size or its name.
const lookScript = `if [ -d "$1" ]; then cd "$1" && printf 'd %s' "$(pwd)"
elif [ -f "$1" ]; then
	up=$(cd "$(dirname "$1")" && pwd)
	printf 'f '; stat -L -c '%a %s' "$1"; printf '%s/%s' "${up%/}" "${1##*/}"
elif [ -e "$1" ]; then echo "$1 is neither a file nor a directory" >&2; exit 1
else echo "there is no $1" >&2; exit 1; fi`

// Download copies a file or a directory of the guest to this machine. What is at its
// place here is replaced only when all of it has arrived.
func (c *Copy) Download(ctx context.Context, from, to string) error {
	answer, err := c.ask(ctx, "copy "+from, lookScript, guestPathOf(from))
	if err != nil {
		return err
	}
	kind, rest, _ := strings.Cut(answer, " ")
	switch {
	case kind == "d" && !c.Recursive:
		return fault.New(fault.Usage, "%s is a directory of %s", from, c.Machine).WithHint("vmctl cp -r copies directories")
	case kind == "d":
		return c.fetchTree(ctx, rest, c.nameHere(from), to)
	}
	line, absolute, _ := strings.Cut(rest, "\n")
	word, sizeWord, _ := strings.Cut(line, " ")
	mode, err := strconv.ParseUint(word, 8, 16)
	size, sizeErr := strconv.ParseInt(sizeWord, 10, 64)
	if err != nil || sizeErr != nil || size < 0 || kind != "f" || !path.IsAbs(absolute) {
		return fault.New(fault.Refused, "%s does not say what %s is", c.Machine, from)
	}
	return c.fetchFile(ctx, absolute, size, fs.FileMode(mode)&writtenHere, c.nameHere(from), to)
}

// writtenHere is what modes of a guest's become here: nobody else may write to what came from it.
const writtenHere = fs.ModePerm &^ 0o022

// nameHere is what a copy is called in a directory of this machine: by the last name that the person
// wrote, and else by the machine's. What the guest says it is called does not count: it would
// choose which file here is replaced.
func (c *Copy) nameHere(from string) string {
	switch name := path.Base(guestPathOf(from)); name {
	case ".", "..", "/":
		return c.Machine
	default:
		return name
	}
}

func (c *Copy) fetchFile(ctx context.Context, from string, size int64, mode fs.FileMode, name, to string) (err error) {
	final, err := localFile(to, name)
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(final), ".vmctl-*")
	if err != nil {
		return localError(err, to)
	}
	defer func() {
		if err != nil {
			_ = file.Close()
			_ = os.Remove(file.Name())
		}
	}()
	if err := filesOf(c.Runner).readFile(ctx, from, &meter{w: file, all: size, tell: c.Moved}); err != nil {
		return err
	}
	err = file.Chmod(mode)
	if err == nil {
		err = file.Close()
	}
	if err == nil {
		err = os.Rename(file.Name(), final)
	}
	if err != nil {
		return localError(err, to)
	}
	return nil
}

// localFile is the file that a copy to a path makes.
func localFile(to, name string) (string, error) {
	info, err := os.Stat(to)
	if err == nil && info.IsDir() {
		to = filepath.Join(to, name)
		info, err = os.Stat(to)
	}
	switch {
	case err == nil && !info.Mode().IsRegular():
		return "", fault.New(fault.Refused, "%s is there already and is no file", to)
	case err == nil:
		// Through a link, as cp goes.
		return filepath.EvalSymlinks(to)
	case !errors.Is(err, fs.ErrNotExist) || strings.HasSuffix(to, "/"):
		return "", localError(err, to)
	}
	return to, nil
}

func (c *Copy) fetchTree(ctx context.Context, from, name, to string) (err error) {
	final := to
	if info, err := os.Stat(to); err == nil && info.IsDir() {
		final = filepath.Join(to, name)
	}
	temporary, err := os.MkdirTemp(filepath.Dir(final), ".vmctl-*")
	if err != nil {
		return localError(err, to)
	}
	defer func() {
		if left := os.RemoveAll(temporary); err == nil && left != nil {
			err = localError(left, temporary)
		}
	}()
	r, w := io.Pipe()
	unpacked := make(chan error, 1)
	go func() {
		err := unpack(r, temporary, c.Skipped)
		_ = r.CloseWithError(err)
		unpacked <- err
	}()
	err = run1(ctx, c.Runner, Command{Argv: script(`exec tar -cf - -C "$1" .`, from), Stdout: &meter{w: w, tell: c.Moved}, Bulk: true}, "pack "+from)
	_ = w.CloseWithError(errors.Join(err, io.EOF))
	if broken := <-unpacked; broken != nil && !errors.Is(broken, io.EOF) {
		return errors.Join(broken, ctx.Err())
	}
	if err != nil {
		return err
	}
	if err := merge(temporary, final); err != nil {
		return localError(err, final)
	}
	return nil
}

func localError(err error, name string) error {
	kind, why := fault.Other, err
	if reason, ok := errors.AsType[*fs.PathError](err); ok {
		why = reason.Err
	}
	if errors.Is(err, fs.ErrNotExist) {
		kind = fault.NotFound
	}
	return fault.New(kind, "cannot copy %s on this machine: %w", name, why)
}

// meter tells how much has gone through.
type meter struct {
	r     io.Reader
	w     io.Writer
	moved int64
	all   int64
	tell  func(moved, all int64)
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	m.count(n)
	return n, err
}

func (m *meter) Write(p []byte) (int, error) {
	n, err := m.w.Write(p)
	m.count(n)
	return n, err
}

func (m *meter) count(n int) {
	m.moved += int64(n)
	if m.tell != nil && n > 0 {
		m.tell(m.moved, max(m.all, 0))
	}
}
