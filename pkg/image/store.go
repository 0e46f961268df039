package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"

	"vmctl/pkg/ansi"
	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

const (
	// storeHash is the length of the hash in a store path, storeAlphabet its letters.
	storeHash     = 32
	storeAlphabet = "0123456789abcdfghijklmnpqrsvwxyz"
)

// FromStore verifies an image that nix built: path is the image file, outPath the
// store path of the output that has it, itself or by a link to another store path. The
// ID is "nix-<store hash>" of the store path that the file lies in, since such a path
// never changes and its bytes need not be read; an image that is not the store path
// itself nor called nixos.qcow2 gets the digest of its place there added, so that two
// files of one store path never share an ID.
//
// The image is in place when QEMU can open it there: on a session connection QEMU
// runs as the caller, on a system one as a user of its own, so every directory on
// the way must be searchable, and the file readable, by everybody. If it is not,
// the caller uploads it.
func FromStore(ctx context.Context, path, outPath, source string, session bool) (engine.Image, error) {
	s := subjectOf(path)
	if _, err := storeHashOf(outPath); err != nil {
		return engine.Image{}, err
	}
	if !within(path, filepath.Dir(outPath)) {
		return engine.Image{}, s.bad("does not lie in the store of %s", ansi.Plain(outPath))
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return engine.Image{}, s.unopened(path, err)
	}
	store, err := filepath.EvalSymlinks(filepath.Dir(outPath))
	if err != nil {
		return engine.Image{}, s.unopened(outPath, err)
	}
	if !within(real, store) {
		return engine.Image{}, s.bad("is a link to %s, outside the nix store", ansi.Plain(real)).
			WithHint("let the derivation copy the image into its output")
	}
	id, err := storeID(real, store)
	if err != nil {
		return engine.Image{}, err
	}
	f, info, err := s.open(real)
	if err != nil {
		return engine.Image{}, err
	}
	defer f.Close()
	// The gate on raw images looks at the name, so it gets the one nix gave.
	disk, err := subjectOf(real).verify(ctx, f, info.Size())
	if err != nil {
		return engine.Image{}, err
	}
	return engine.Image{
		ID: id, Source: source, Path: real, Format: disk.Format,
		Size: disk.VirtualSize, FileSize: spec.Size(info.Size()),
		InPlace: session || reachable(real),
	}, nil
}

func within(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

// storeID names a file below a store, both without links.
func storeID(file, store string) (string, error) {
	rel, err := filepath.Rel(store, file)
	if err != nil {
		return "", err
	}
	entry, place, _ := strings.Cut(rel, "/")
	hash, err := storeHashOf(filepath.Join(store, entry))
	if err != nil {
		return "", err
	}
	id := "nix-" + hash
	if place != "" && place != "nixos.qcow2" {
		sum := sha256.Sum256([]byte(place))
		id += "-" + hex.EncodeToString(sum[:8])
	}
	return id, nil
}

// storeHashOf is the hash in the name of a store path.
func storeHashOf(path string) (string, error) {
	hash, name, ok := strings.Cut(filepath.Base(path), "-")
	if !ok || name == "" || len(hash) != storeHash || strings.Trim(hash, storeAlphabet) != "" || !filepath.IsAbs(path) {
		return "", fault.New(fault.Build, "%s is not a path of a nix store", ansi.Plain(path))
	}
	return hash, nil
}

// reachable says that everybody may read the file, which has no links in its path.
func reachable(path string) bool {
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&0o004 == 0 {
		return false
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm()&0o001 == 0 {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
	}
}
