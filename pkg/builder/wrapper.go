package builder

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"vmctl/images"
	"vmctl/pkg/fault"
	"vmctl/pkg/safefile"
)

// wrapperAge is how long a wrapper that nobody uses is kept. It is a few files, made
// anew when it is not there.
const wrapperAge = 7 * 24 * time.Hour

// want is what the wrapper is told, as JSON.
type want struct {
	Name      *string  `json:"name"`
	Preferred []string `json:"preferred"`
	Path      attrPath `json:"path"`
	Firmware  *string  `json:"firmware"`
	KVM       bool     `json:"kvm"`
}

// wrap writes a flake into vmctl's cache whose only input is the person's flake: nix
// then reads that one's own lock, and nothing is written into its tree. It gives the
// wrapper's URL.
func (b *Builder) wrap(ref Ref, source string, g goal) (string, error) {
	files, err := wrapperFiles(ref, source, g)
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	for _, f := range files {
		_, _ = fmt.Fprintf(sum, "%d:%s,%d:%s,", len(f.name), f.name, len(f.data), f.data)
	}
	cannot := func(err error) error {
		return fault.New(fault.Build, "the wrapper of %s cannot be written: %w", ref.subject(), err).
			WithHint("make vmctl's cache directory writable, or set XDG_CACHE_HOME to another")
	}
	base := b.cacheDir
	if base == "" {
		home, err := os.UserCacheDir()
		if err != nil {
			return "", cannot(err)
		}
		base = filepath.Join(home, "vmctl")
	}
	if err := os.MkdirAll(base, 0o700); err != nil {
		return "", cannot(err)
	}
	// nix versions differ in what they do with links in a path.
	if base, err = filepath.EvalSymlinks(base); err != nil {
		return "", cannot(err)
	}
	if !localPath.MatchString(base) {
		return "", fault.New(fault.Build, "nix cannot read files below a path with spaces or special characters: %q", base).
			WithHint("set XDG_CACHE_HOME to a plain path")
	}
	all := filepath.Join(base, "wrappers")
	dir := filepath.Join(all, hex.EncodeToString(sum.Sum(nil)[:16]))
	for _, f := range files {
		if err := ensure(filepath.Join(dir, filepath.FromSlash(f.name)), f.data); err != nil {
			return "", cannot(err)
		}
	}
	now := time.Now()
	_ = os.Chtimes(dir, now, now)
	sweep(all, now.Add(-wrapperAge))
	return "path:" + dir, nil
}

type wrapperFile struct {
	name string
	data []byte
}

// wrapperFiles are the wrapper: the embedded files, and the two that say what is meant.
func wrapperFiles(ref Ref, source string, g goal) ([]wrapperFile, error) {
	w := want{Preferred: ref.preferred(), Path: g.path, KVM: !ref.NoKVM}
	if g.name != "" {
		w.Name = &g.name
	}
	if ref.Firmware != "" {
		w.Firmware = &ref.Firmware
	}
	told, err := json.Marshal(w)
	if err != nil {
		return nil, err
	}
	flake := fmt.Sprintf(`{
  inputs.user.url = %s;
  outputs = { self, user }: import ./outputs.nix {
    inherit user;
    module = ./module;
    want = builtins.fromJSON (builtins.readFile ./want.json);
  };
}
`, nixString(inputURL(ref, source)))
	return append(embedded(), wrapperFile{"flake.nix", []byte(flake)}, wrapperFile{"want.json", told}), nil
}

// embedded are vmctl's nix files, where the wrapper has them.
var embedded = sync.OnceValue(func() []wrapperFile {
	var files []wrapperFile
	err := fs.WalkDir(images.Nix, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := images.Nix.ReadFile(path)
		files = append(files, wrapperFile{strings.TrimPrefix(path, "wrapper/"), data})
		return err
	})
	if err != nil {
		panic(err) // they are part of the program
	}
	return slices.Clip(files)
})

// wrapperDigest changes when an image would, because vmctl's module has.
var wrapperDigest = sync.OnceValue(func() string {
	sum := sha256.New()
	for _, f := range embedded() {
		_, _ = fmt.Fprintf(sum, "%s:%d:%s,", f.name, len(f.data), f.data)
	}
	return hex.EncodeToString(sum.Sum(nil))
})

// inputURL is the flake as an input of another. A directory in a repository means what it
// means on nix's own command line: the files that git tracks.
func inputURL(ref Ref, source string) string {
	if !ref.local() {
		return source
	}
	root := treeRoot(ref.Flake)
	if !exists(filepath.Join(root, ".git")) {
		return "path:" + ref.Flake
	}
	var query []string
	if dir, err := filepath.Rel(root, ref.Flake); err == nil && dir != "." {
		query = append(query, "dir="+strings.ReplaceAll(url.QueryEscape(dir), "%2F", "/"))
	}
	if exists(filepath.Join(root, ".git", "shallow")) {
		query = append(query, "shallow=1")
	}
	u := "git+file://" + root
	if len(query) > 0 {
		u += "?" + strings.Join(query, "&")
	}
	return u
}

// nixString is text as a literal of the nix language.
func nixString(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`).Replace(text) + `"`
}

// ensure makes a file what it should be, without another vmctl ever seeing half of it.
func ensure(path string, data []byte) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return safefile.Write(path, data)
}

// sweep removes wrappers that were last used before a time.
func sweep(all string, before time.Time) {
	entries, err := os.ReadDir(all)
	if err != nil {
		return
	}
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil && entry.IsDir() && info.ModTime().Before(before) {
			_ = os.RemoveAll(filepath.Join(all, entry.Name()))
		}
	}
}
