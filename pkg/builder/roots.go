package builder

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"vmctl/pkg/fault"
	"vmctl/pkg/progress"
)

// A root is a link image-* to a store path, which nix knows of, next to an empty file
// image-*.ok. The file says that nix has finished: nix makes the link first and
// registers it then, and may be killed between the two.
const (
	rootPrefix = "image-"
	rootOK     = ".ok"
)

// newRoot is a name in rootDir for a new link. Names are never used twice: replacing a
// link would drop the root of an image that a machine may still be running on.
func newRoot(rootDir string) (string, error) {
	if rootDir == "" {
		return "", nil
	}
	if err := os.MkdirAll(rootDir, 0o700); err != nil {
		return "", fault.New(fault.Build, "the directory that keeps the image from nix's garbage collection cannot be made: %w", err)
	}
	return filepath.Join(rootDir, fmt.Sprintf("%s%x-%d", rootPrefix, time.Now().UnixNano(), os.Getpid())), nil
}

// settleRoot makes a link that nix has just made the only one of its path.
func settleRoot(rootDir, link, outPath string) error {
	if link == "" {
		return nil
	}
	if target, err := os.Readlink(link); err != nil || target != outPath {
		return fault.New(fault.Build, "nix built %s, but did not protect it from its garbage collection", outPath)
	}
	if file, err := os.OpenFile(link+rootOK, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600); err != nil {
		return fault.New(fault.Build, "the image's garbage collection root cannot be kept: %w", err)
	} else if err := file.Close(); err != nil {
		return err
	}
	for _, other := range rootsOf(rootDir, outPath) {
		// Only older ones: of two builds at once neither may remove the other's.
		if other < link {
			removeRoot(other)
		}
	}
	return nil
}

// keep makes rootDir keep a path which is known to be built; nil when it does already.
// What it returns waits for that. When it does not work, as when the path has just been
// collected, the entry is forgotten: the next build asks nix.
func (b *Builder) keep(ctx context.Context, ref Ref, entry cacheEntry, rootDir, outPath string) func() error {
	if rootDir == "" || len(rootsOf(rootDir, outPath)) > 0 {
		return nil
	}
	done := make(chan error, 1)
	go func() { done <- b.root(ctx, ref, rootDir, outPath) }()
	return sync.OnceValue(func() error {
		err := <-done
		if err != nil && ctx.Err() == nil {
			entry.forget()
		}
		return err
	})
}

func (b *Builder) root(ctx context.Context, ref Ref, rootDir, outPath string) error {
	link, err := newRoot(rootDir)
	if err != nil {
		return err
	}
	t := newTracker(progress.Discard, ref)
	if _, err := b.run(ctx, t, b.argv("build", []string{"--out-link", link}, outPath)); err != nil {
		if ctx.Err() != nil {
			return b.processError(ctx, err)
		}
		return lost(ref, outPath)
	}
	if err := settleRoot(rootDir, link, outPath); err != nil {
		return err
	}
	if !exists(outPath) {
		return lost(ref, outPath)
	}
	return nil
}

func lost(ref Ref, outPath string) error {
	return fault.New(fault.Build, "nix does not keep %s, the image of %s, any more", outPath, ref.subject()).
		WithHint("try again: it is then built anew")
}

// rootsOf are the links that nix knows of and that lead to the path.
func rootsOf(rootDir, outPath string) []string {
	entries, err := os.ReadDir(rootDir)
	if err != nil {
		return nil
	}
	var links []string
	for _, entry := range entries {
		name, ok := strings.CutSuffix(entry.Name(), rootOK)
		if !ok || !strings.HasPrefix(name, rootPrefix) {
			continue
		}
		link := filepath.Join(rootDir, name)
		if target, err := os.Readlink(link); err == nil && target == outPath {
			links = append(links, link)
		}
	}
	return links
}

// removeRoot removes the link first: a file without a link keeps nothing.
func removeRoot(link string) {
	_ = os.Remove(link)
	_ = os.Remove(link + rootOK)
}

// KeepRoots removes every link of rootDir that does not lead to one of the paths, with
// what killed runs have left, and the directory when nothing stays. nix collects the
// images when it next collects garbage. A directory that is not there is fine.
//
// The caller holds the machine's lock: a build at the same time would lose its root.
func KeepRoots(rootDir string, keepOutPaths ...string) error {
	entries, err := os.ReadDir(rootDir)
	if os.IsNotExist(err) || rootDir == "" {
		return nil
	}
	if err != nil {
		return fault.New(fault.Other, "the garbage collection roots cannot be read: %w", err)
	}
	kept := map[string]bool{}
	for _, entry := range entries {
		path := filepath.Join(rootDir, entry.Name())
		target, err := os.Readlink(path)
		if err == nil && slices.Contains(keepOutPaths, target) && !kept[target] && exists(path+rootOK) {
			kept[target] = true
			kept[path+rootOK] = true
		}
	}
	// An unfinished root is better than none.
	for _, entry := range entries {
		path := filepath.Join(rootDir, entry.Name())
		if target, err := os.Readlink(path); err == nil && slices.Contains(keepOutPaths, target) && (!kept[target] || kept[path+rootOK]) {
			kept[target] = true
			continue
		}
		if entry.IsDir() || kept[path] {
			continue
		}
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			return fault.New(fault.Other, "a garbage collection root cannot be removed: %w", err)
		}
	}
	if err := os.Remove(rootDir); err != nil && len(kept) == 0 && !os.IsNotExist(err) {
		return fault.New(fault.Other, "the directory of garbage collection roots cannot be removed: %w", err)
	}
	return nil
}

// Kept are the store paths that the links of rootDir lead to, each once.
func Kept(rootDir string) []string {
	entries, err := os.ReadDir(rootDir)
	if err != nil {
		return nil
	}
	var kept []string
	for _, entry := range entries {
		target, err := os.Readlink(filepath.Join(rootDir, entry.Name()))
		if err == nil && strings.HasPrefix(entry.Name(), rootPrefix) && !slices.Contains(kept, target) {
			kept = append(kept, target)
		}
	}
	return kept
}
