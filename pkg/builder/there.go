package builder

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"vmctl/pkg/fault"
	"vmctl/pkg/proc"
	"vmctl/pkg/ssh"
)

// There is another machine, which has nix and builds in its own store. Everything is asked
// of it by ssh.
type There struct {
	Host *ssh.Host
	// Space and Machine name the links there that keep what is built from garbage collection;
	// without a machine nothing is kept.
	Space, Machine string
}

// Seen is an image file on another machine, as far as it takes to judge it.
type Seen struct {
	// Path is without links, Size in bytes.
	Path string
	Size int64
	// Open says that every user there may read it.
	Open bool
	// Head is its beginning, at most a MiB, and Tail its end, at most 64 KiB.
	Head, Tail []byte
}

// Nix asks the other machine for its nix: empty when it has none that ssh finds.
func (t There) Nix(ctx context.Context) (string, error) {
	said, err := t.Host.Run(ctx, "command -v nix-store >/dev/null && nix-store --version")
	if _, ok := err.(*proc.Error); ok { //nolint:errorlint // proc promises it
		return "", nil
	}
	return firstLine(said), err
}

// BuildThere is Build on another machine: evaluated here, built there, from sources and
// derivations that are copied as far as they are missing. The result stays there, kept by
// a link of the machine's. A flake that has not changed since costs one question.
func (b *Builder) BuildThere(ctx context.Context, ref Ref, at There, refresh bool) (Result, Seen, error) {
	show := b.show(ref, "build", " on "+at.Host.Name)
	res, seen, err := b.buildThere(ctx, ref, at, refresh)
	res.Arch = archOf(res.Drv)
	return res, seen, show.end(err, res.Cached, seen.Path)
}

func (b *Builder) buildThere(ctx context.Context, ref Ref, at There, refresh bool) (Result, Seen, error) {
	ref, err := ref.check()
	if err != nil {
		return Result{}, Seen{}, err
	}
	goal, err := parseGoal(ref.Attr)
	if err != nil {
		return Result{}, Seen{}, err
	}
	entry := b.cacheEntry(ref)
	before := b.sources(ctx, ref)
	if !refresh {
		if e, ok := entry.unchanged(before); ok {
			seen, err := at.see(ctx, e.OutPath, e.Path)
			if err == nil || !fault.Is(err, fault.NotFound) {
				return e.result(), seen, err
			}
		}
	}
	if err := ref.ask(ctx); err != nil {
		return Result{}, Seen{}, err
	}
	x, err := b.examine(ctx, ref, goal, refresh)
	if err != nil {
		return Result{}, Seen{}, err
	}
	res, err := b.realiseThere(ctx, ref, x, x.installable, at)
	if err != nil {
		return Result{}, Seen{}, err
	}
	if res.Path, err = at.find(ctx, res.OutPath); err != nil {
		return Result{}, Seen{}, err
	}
	seen, err := at.see(ctx, res.OutPath, res.Path)
	if err == nil && !x.unlocked {
		entry.store(before, b.fingerprint(ctx, ref), res, seen.Size)
	}
	return res, seen, err
}

// realiseThere runs nix build with the other machine's store. Its two ways to speak to a
// store are used for what each is good at: ssh:// asks for all that is missing at once,
// where ssh-ng:// of many versions asks for each path (NixOS/nix#3372), and only ssh-ng://
// builds what was evaluated here.
func (b *Builder) realiseThere(ctx context.Context, ref Ref, x examined, installable string, at There) (Result, error) {
	t := newTracker(b.sink, ref)
	there := *b
	there.env = append(slices.Clone(b.env), "NIX_SSHOPTS="+strings.Join(at.Host.Options(), " "))
	_, err := there.run(ctx, t, there.argv("copy", []string{"--derivation", "--to", at.store()}, installable))
	if err != nil {
		return Result{}, b.unbuilt(ctx, ref, t, x, err)
	}
	args := []string{"--no-link", "--eval-store", "auto", "--store", "ssh-ng://" + at.Host.Name}
	out, err := there.run(ctx, t, there.argv("build", args, installable))
	if err != nil {
		return Result{}, b.unbuilt(ctx, ref, t, x, err)
	}
	res := Result{Attr: x.attr.String(), Spec: x.Spec, Left: x.Left, Origin: x.origin}
	if res.Drv, res.OutPath, err = parseBuilt(out.Stdout); err != nil {
		return Result{}, fault.New(fault.Build, "nix built %s on %s, but %w", ref.subject(), at.Host.Name, err)
	}
	return res, nil
}

// store is the store there, as nix is told of it.
func (t There) store() string { return "ssh://" + t.Host.Name }

// roots is the directory of the links of all spaces, in the words of the shell there.
const roots = `"${XDG_STATE_HOME:-$HOME/.local/state}/vmctl/gcroots"`

// dir is the directory of the machine's links.
func (t There) dir() string { return roots + "/" + ssh.Quote(t.Space+"/"+t.Machine) }

// holding makes a link in $dir keep $out, unless the directory is nobody's.
const holding = `link="$dir/${out##*/}"
if [ -n "${dir##*/}" ] && [ "$(readlink -- "$link")" != "$out" ]; then
	(umask 077 && mkdir -p -- "$dir") && nix-store --realise "$out" --add-root "$link" --indirect >/dev/null || exit 4
fi`

// hold keeps an output there from garbage collection until it is let go.
func (t There) hold(ctx context.Context, outPath string) error {
	if _, err := t.Host.Run(ctx, fmt.Sprintf("out=%s dir=%s\n%s", ssh.Quote(outPath), t.dir(), holding)); err != nil {
		return t.failed("keep the system", err)
	}
	return nil
}

// LetGo removes the link that keeps an output there.
func (t There) LetGo(ctx context.Context, outPath string) error {
	_, err := t.Host.Run(ctx, fmt.Sprintf(`out=%s dir=%s
rm -f -- "$dir/${out##*/}"
rmdir -- "$dir" 2>/dev/null
true`, ssh.Quote(outPath), t.dir()))
	if err != nil {
		return t.failed("tidy up the link that kept the system", err)
	}
	return nil
}

// see looks at a file of an output, and makes sure that a link keeps the output. It is
// fault.NotFound when the output or the file is not there.
func (t There) see(ctx context.Context, outPath, path string) (Seen, error) {
	script := fmt.Sprintf(`out=%s f=%s dir=%s
[ -e "$out" ] && f=$(readlink -f -- "$f") && [ -f "$f" ] || exit 3
%s
open=open p=$f
[ -n "$(find "$p" -prune -perm -004)" ] || open=closed
while [ "$p" != / ]; do p=$(dirname -- "$p"); [ -n "$(find "$p" -prune -perm -001)" ] || open=closed; done
printf '%%s\n%%s\n%%s\n' "$f" "$(stat -c %%s -- "$f")" $open
{ head -c %d -- "$f"; tail -c %d -- "$f"; } | gzip -1
`, ssh.Quote(outPath), ssh.Quote(path), t.dir(), holding, headSize, tailSize)
	said, err := t.Host.Run(ctx, script)
	if failed, ok := err.(*proc.Error); ok && failed.ExitCode == 3 { //nolint:errorlint // proc promises it
		return Seen{}, fault.New(fault.NotFound, "%s is not on %s", path, t.Host.Name)
	}
	if err != nil {
		return Seen{}, t.failed("look at the image", err)
	}
	seen, ok := parseSeen(said)
	if !ok {
		return Seen{}, fault.New(fault.Build, "%s described the image in a way vmctl cannot read", t.Host.Name)
	}
	return seen, nil
}

// parseSeen reads what the script of see prints.
func parseSeen(said string) (seen Seen, ok bool) {
	words := strings.SplitN(said, "\n", 4)
	if len(words) < 4 || !filepath.IsAbs(words[0]) {
		return Seen{}, false
	}
	size, err := strconv.ParseInt(words[1], 10, 64)
	if err != nil || size < 0 {
		return Seen{}, false
	}
	unpacked, err := gzip.NewReader(strings.NewReader(words[3]))
	if err != nil {
		return Seen{}, false
	}
	head, tail := min(size, headSize), min(size, tailSize)
	content := new(bytes.Buffer)
	if n, err := io.CopyN(content, unpacked, head+tail+1); n != head+tail || !errors.Is(err, io.EOF) {
		return Seen{}, false // it changed while it was read
	}
	return Seen{
		Path: filepath.Clean(words[0]), Size: size, Open: words[2] == "open",
		Head: content.Bytes()[:head], Tail: content.Bytes()[head:],
	}, true
}

const (
	headSize = 1 << 20
	tailSize = 64 << 10
)

// find is findImage on the other machine.
func (t There) find(ctx context.Context, outPath string) (string, error) {
	said, err := t.Host.Run(ctx, fmt.Sprintf(`out=%s
[ -d "$out" ] || { echo "$out"; exit; }
head -c %d -- "$out/%s" 2>/dev/null
echo
echo entries
cd -- "$out" && find -L . ! -name . -prune -type f`, ssh.Quote(outPath), maxProducts, products))
	if err != nil {
		return "", t.failed("look for the image", err)
	}
	named, entries, listed := strings.Cut(said, "\nentries\n")
	if !listed {
		return strings.TrimSpace(said), nil
	}
	for _, path := range parseProducts(named) {
		if strings.HasPrefix(path, outPath+"/") {
			return path, nil
		}
	}
	several := &severalError{outPath: outPath}
	for entry := range strings.Lines(entries) {
		entry = strings.TrimPrefix(strings.TrimRight(entry, "\n"), "./")
		several.entries = append(several.entries, fmt.Sprintf("%q", entry))
		if imageName(entry) {
			several.images = append(several.images, entry)
		}
	}
	if len(several.images) == 1 {
		return filepath.Join(outPath, several.images[0]), nil
	}
	return "", several.fault()
}

// Keep removes the links of a machine that lead to anything but the output; an empty
// output keeps none. Only nix's next garbage collection there removes what they kept.
func (t There) Keep(ctx context.Context, outPath string) error {
	if t.Machine == "" {
		return nil
	}
	_, err := t.Host.Run(ctx, fmt.Sprintf(`keep=%s dir=%s
for link in "$dir"/*; do
	[ -L "$link" ] && [ "$(readlink -- "$link")" != "$keep" ] && rm -f -- "$link"
done
rmdir -- "$dir" 2>/dev/null
true`, ssh.Quote(outPath), t.dir()))
	if err != nil {
		return t.failed("tidy up the links that keep images", err)
	}
	return nil
}

// KeptThere are the machines of a space that links on a host keep something for.
func KeptThere(ctx context.Context, host *ssh.Host, space string) ([]string, error) {
	said, err := host.Run(ctx, `cd `+roots+`/`+ssh.Quote(space)+` 2>/dev/null && ls -A; true`)
	if err != nil {
		return nil, There{Host: host}.failed("list the links that keep images", err)
	}
	return strings.Fields(said), nil
}

func (t There) failed(doing string, err error) error {
	if failed, ok := err.(*proc.Error); ok { //nolint:errorlint // proc promises it
		return fault.New(fault.Build, "%s could not %s: %s", t.Host.Name, doing, failed.LastLine())
	}
	return err
}
