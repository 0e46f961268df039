package builder

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"vmctl/pkg/fault"
	"vmctl/pkg/progress"
)

// Build builds the image, or finds that it is there already: then no nix process
// starts. rootDir is the directory of the GC root links that keep the result; empty
// keeps nothing. refresh asks nix even when nothing seems to have changed.
//
// The errors are *Error and *fault.Error: Build when nix fails, NotFound when there
// is no such flake or attribute, Interrupted when ctx was cancelled.
func (b *Builder) Build(ctx context.Context, ref Ref, rootDir string, refresh bool) (Result, error) {
	show := b.show(ref, "build", "")
	res, err := b.build(ctx, ref, rootDir, refresh)
	res.Arch = archOf(res.Drv)
	if err = show.end(err, res.Cached, res.Path); err != nil {
		return Result{}, err
	}
	return res, nil
}

// askedError is what Ref.Ask has refused.
type askedError struct{ error }

// ask asks whether there is a point in going on.
func (r Ref) ask(ctx context.Context) error {
	if r.Ask == nil {
		return nil
	}
	if err := r.Ask(ctx); err != nil {
		return &askedError{err}
	}
	return nil
}

func (b *Builder) build(ctx context.Context, ref Ref, rootDir string, refresh bool) (Result, error) {
	ref, err := ref.check()
	if err != nil {
		return Result{}, err
	}
	goal, err := parseGoal(ref.Attr)
	if err != nil {
		return Result{}, err
	}
	entry := b.cacheEntry(ref)
	before := b.sources(ctx, ref)
	if !refresh {
		if res, ok := entry.lookup(before); ok {
			res.kept = b.keep(ctx, ref, entry, rootDir, res.OutPath)
			return res, nil
		}
	}
	if err := ctx.Err(); err != nil {
		return Result{}, b.processError(ctx, err)
	}
	if err := ref.ask(ctx); err != nil {
		return Result{}, err
	}
	x, err := b.examine(ctx, ref, goal, refresh)
	if err != nil {
		return Result{}, err
	}
	res, err := b.realise(ctx, ref, x, rootDir)
	if err != nil {
		return Result{}, err
	}
	if info, err := os.Lstat(res.Path); err == nil && !x.unlocked {
		entry.store(before, b.fingerprint(ctx, ref), res, info.Size())
	}
	return res, nil
}

// realise runs nix build.
func (b *Builder) realise(ctx context.Context, ref Ref, x examined, rootDir string) (Result, error) {
	link, err := newRoot(rootDir)
	if err != nil {
		return Result{}, err
	}
	args := []string{"--no-link"}
	if link != "" {
		args = []string{"--out-link", link}
	}
	t := newTracker(b.sink, ref)
	out, err := b.run(ctx, t, b.argv("build", args, x.installable))
	if err != nil && ctx.Err() == nil && t.cachedFailure() {
		// nix remembers that an evaluation failed, but not why.
		t = newTracker(b.sink, ref)
		out, err = b.run(ctx, t, b.argv("build", append(args, noEvalCache()...), x.installable))
	}
	if err != nil {
		return Result{}, b.unbuilt(ctx, ref, t, x, err)
	}
	res := Result{Attr: x.attr.String(), Spec: x.Spec, Left: x.Left, Origin: x.origin}
	if res.Drv, res.OutPath, err = parseBuilt(out.Stdout); err != nil {
		return Result{}, fault.New(fault.Build, "nix built %s, but %w", ref.subject(), err)
	}
	if err := settleRoot(rootDir, link, res.OutPath); err != nil {
		return Result{}, err
	}
	res.Path, err = b.find(ctx, ref, x.installable, res.OutPath)
	return res, err
}

// unbuilt says why nix did not build what was examined.
func (b *Builder) unbuilt(ctx context.Context, ref Ref, t *tracker, x examined, err error) error {
	if ctx.Err() == nil && t.lacksAttribute() {
		return b.lacks(ctx, ref, x.attr)
	}
	return b.failure(ctx, ref, t, err)
}

func noEvalCache() []string { return []string{"--option", "eval-cache", "false"} }

// lacks says what is missing of an attribute path that nix did not find.
func (b *Builder) lacks(ctx context.Context, ref Ref, attr attrPath) error {
	if len(attr) < 2 || attr[0] != configurations {
		return fault.New(fault.NotFound, "%s has no attribute %s", ref.subject(), attr).
			WithHint("see what it has: nix flake show %s", ref.Flake)
	}
	names, err := b.names(ctx, ref)
	if err != nil {
		return err
	}
	if !slices.Contains(names, attr[1]) {
		return missing(attr[1], names, ref)
	}
	return noImage(attr, ref)
}

// noImage is the error for a configuration without what is to be built of it.
func noImage(attr attrPath, ref Ref) error {
	return fault.New(fault.NotFound, "nixosConfigurations.%s of %s has no %s, so there is no image to build", attr[1], ref.subject(), attr[2:]).
		WithHint("make it with nixpkgs' lib.nixosSystem, of which vmctl can make an image, or set system.build.qcow2 as vmctl's images/example does")
}

// find asks the output itself where the image is, and only then nix.
func (b *Builder) find(ctx context.Context, ref Ref, installable, outPath string) (string, error) {
	path, err := findImage(outPath)
	var several *severalError
	if !errors.As(err, &several) {
		return path, err
	}
	t := newTracker(progress.Discard, ref)
	res, evalErr := b.run(ctx, t, b.argv("eval", nil, installable+".passthru.filePath"))
	file, told := parseFile(res.Stdout)
	if evalErr != nil || !told {
		if ctx.Err() != nil {
			return "", b.processError(ctx, evalErr)
		}
		return "", several.fault()
	}
	if !strings.HasPrefix(file, outPath+"/") {
		file = filepath.Join(outPath, file)
	}
	if path, ok := inside(outPath, file); ok {
		return path, nil
	}
	return "", several.fault()
}

// exists is whether a store path is still there.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
