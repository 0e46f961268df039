package builder

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"

	"vmctl/pkg/safefile"
)

// cacheVersion changes whenever an entry of an older vmctl may mean something else.
const cacheVersion = 2

// maxCacheEntry bounds the file that is read.
const maxCacheEntry = 4 << 20

// cached is what one flake and attribute were last built to.
type cached struct {
	Version     int
	Fingerprint string
	// Racy are the files that changed so shortly before they were looked at that a
	// later change could look the same; their content's sha256 decides.
	Racy                     map[string]string
	Path, OutPath, Drv, Attr string
	// Size is the image file's; without a Path, the image was evaluated and not built.
	Size int64
	// System is the store path of the system in the image, if that was asked for.
	System string          `json:",omitempty"`
	Spec   json.RawMessage `json:",omitempty"`
	Left   []string        `json:",omitempty"`
	Origin Origin
}

// cacheEntry is the file of one flake and attribute; no file when nothing is remembered.
type cacheEntry struct{ file string }

func (b *Builder) cacheEntry(ref Ref) cacheEntry {
	if b.cacheDir == "" {
		return cacheEntry{}
	}
	key := ref.Flake + "\x00" + ref.Attr
	if ref.Attr == "" {
		key += "\x00" + ref.Machine
	}
	sum := sha256.Sum256([]byte(key))
	return cacheEntry{file: filepath.Join(b.cacheDir, "builds", hex.EncodeToString(sum[:16])+".json")}
}

// lookup gives the remembered result when the fingerprint is still the same and the
// image is still there. Whatever is odd about the file makes it worth nothing.
func (c cacheEntry) lookup(now fingerprint) (Result, bool) {
	e, ok := c.unchanged(now)
	if !ok || !exists(e.OutPath) {
		return Result{}, false
	}
	if image, err := os.Lstat(e.Path); err != nil || !image.Mode().IsRegular() || image.Size() != e.Size {
		return Result{}, false
	}
	return e.result(), true
}

// unchanged gives what is remembered when the fingerprint is still the same; the image
// may be gone.
func (c cacheEntry) unchanged(now fingerprint) (cached, bool) {
	if c.file == "" || !now.sure {
		return cached{}, false
	}
	e, ok := c.read()
	if !ok || e.Fingerprint != now.sum || !filepath.IsAbs(e.OutPath) {
		return cached{}, false
	}
	for file, sum := range e.Racy {
		if got, err := hashFile(file); err != nil || got != sum {
			return cached{}, false
		}
	}
	return e, true
}

func (e cached) result() Result {
	return Result{Path: e.Path, OutPath: e.OutPath, System: e.System, Drv: e.Drv, Attr: e.Attr, Spec: e.Spec, Left: e.Left, Origin: e.Origin, Cached: true}
}

func (c cacheEntry) read() (cached, bool) {
	info, err := os.Stat(c.file)
	if err != nil || info.Size() > maxCacheEntry {
		return cached{}, false
	}
	data, err := os.ReadFile(c.file)
	var e cached
	if err != nil || json.Unmarshal(data, &e) != nil || e.Version != cacheVersion {
		return cached{}, false
	}
	return e, true
}

// Recall is what was last built of a flake, whether or not it has changed since; false
// when nothing is known. It asks nobody, and is for showing what is declared. Its image
// may be gone.
func (b *Builder) Recall(ref Ref) (Result, bool) {
	ref, err := ref.check()
	if err != nil {
		return Result{}, false
	}
	entry := b.cacheEntry(ref)
	if entry.file == "" {
		return Result{}, false
	}
	e, ok := entry.read()
	return e.result(), ok
}

// forget makes the next build ask nix.
func (c cacheEntry) forget() { _ = os.Remove(c.file) }

// store remembers a result with its image's size, when nothing changed while it was made, and
// keeps what was known of the same image before; without a Path, the image was not built.
// That it cannot be written costs time, not correctness, and is no error.
func (c cacheEntry) store(before, after fingerprint, res Result, size int64) {
	if c.file == "" || !before.sure || !after.sure || before.sum != after.sum || !maps.Equal(before.racy, after.overlap(before)) {
		return
	}
	now := cached{
		Version: cacheVersion, Fingerprint: before.sum, Racy: before.racy,
		Path: res.Path, OutPath: res.OutPath, System: res.System, Drv: res.Drv, Attr: res.Attr, Size: size,
		Spec: res.Spec, Left: res.Left, Origin: res.Origin,
	}
	if old, ok := c.read(); ok && old.OutPath == res.OutPath {
		if now.System == "" {
			now.System = old.System
		}
		if now.Path == "" {
			now.Path, now.Size = old.Path, old.Size
		}
	}
	data, err := json.Marshal(now)
	if err != nil || os.MkdirAll(filepath.Dir(c.file), 0o700) != nil {
		return
	}
	_ = safefile.Write(c.file, data)
}
