package builder

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"vmctl/pkg/fault"
)

// products is where every release of nixpkgs' make-disk-image says what it made
// (https://github.com/NixOS/nixpkgs/blob/master/nixos/lib/make-disk-image.nix).
const products = "nix-support/hydra-build-products"

// maxProducts bounds what is read of it; a real one has one line.
const maxProducts = 64 << 10

// severalError is an output with no image that stands out.
type severalError struct {
	outPath string
	images  []string
	entries []string
}

func (e *severalError) Error() string { return e.fault().Error() }

func (e *severalError) fault() error {
	if len(e.images) > 1 {
		return fault.New(fault.Build, "%s holds several images: %s", e.outPath, list(e.images)).
			WithHint("build an attribute that makes one image")
	}
	return fault.New(fault.Build, "%s holds no disk image, only: %s", e.outPath, list(e.entries)).
		WithHint("name an attribute that makes a disk image: qcow2, raw, or one of them packed")
}

// findImage gives the image file in a build's output. When the output alone does not
// decide, the error is a *severalError.
func findImage(outPath string) (string, error) {
	info, err := os.Stat(outPath)
	if err != nil {
		return "", fault.New(fault.Build, "nix said it built %s, but it cannot be read: %w", outPath, err)
	}
	if !info.IsDir() {
		if path, ok := inside(outPath, outPath); ok {
			return path, nil
		}
		return "", fault.New(fault.Build, "%s is neither a directory nor a plain file", outPath)
	}
	if path, ok := product(outPath); ok {
		return path, nil
	}
	entries, err := os.ReadDir(outPath)
	if err != nil {
		return "", fault.New(fault.Build, "the built image cannot be read: %w", err)
	}
	several := &severalError{outPath: outPath}
	var found string
	for _, entry := range entries {
		several.entries = append(several.entries, fmt.Sprintf("%q", entry.Name()))
		if !imageName(entry.Name()) {
			continue
		}
		if path, ok := inside(outPath, filepath.Join(outPath, entry.Name())); ok {
			found = path
			several.images = append(several.images, entry.Name())
		}
	}
	if len(several.images) == 1 {
		return found, nil
	}
	if len(several.entries) == 0 {
		several.entries = []string{"nothing"}
	}
	return "", several
}

// product is the file that hydra-build-products names.
func product(outPath string) (string, bool) {
	file, err := os.Open(filepath.Join(outPath, products))
	if err != nil {
		return "", false
	}
	defer file.Close()
	text := make([]byte, maxProducts)
	n, _ := file.Read(text)
	for _, path := range parseProducts(string(text[:n])) {
		if path, ok := inside(outPath, path); ok {
			return path, true
		}
	}
	return "", false
}

// parseProducts reads lines such as "file qcow2-image /nix/store/…/nixos.qcow2" and
// gives the paths of disk images, those that say qcow2 first.
func parseProducts(text string) []string {
	var qcow2, others []string
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		kind, rest, ok := strings.Cut(line, " ")
		if !ok || kind != "file" {
			continue
		}
		subtype, path, ok := strings.Cut(rest, " ")
		// A path with spaces stands between quotes.
		path = strings.Trim(strings.TrimSpace(path), `"`)
		switch {
		case !ok || !filepath.IsAbs(path) || strings.ContainsRune(path, 0):
		case subtype == "qcow2-image" || strings.HasSuffix(path, ".qcow2"):
			qcow2 = append(qcow2, filepath.Clean(path))
		case strings.HasSuffix(subtype, "-image") || imageName(path):
			others = append(others, filepath.Clean(path))
		}
	}
	return append(qcow2, others...)
}

// inside resolves a file of an output: it must be named below the output, be a plain
// file in the end, and links may lead only to where nix keeps its paths.
func inside(outPath, path string) (string, bool) {
	if path != outPath && !strings.HasPrefix(path, outPath+"/") {
		return "", false
	}
	store, err := filepath.EvalSymlinks(filepath.Dir(outPath))
	if err != nil {
		return "", false
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil || !strings.HasPrefix(real, store+"/") {
		return "", false
	}
	info, err := os.Lstat(real)
	if err != nil || !info.Mode().IsRegular() {
		return "", false
	}
	return filepath.Join(filepath.Dir(outPath), strings.TrimPrefix(real, store+"/")), true
}

// imageName says that a name is a disk image's, packed or not.
func imageName(name string) bool {
	switch ext := filepath.Ext(name); ext {
	case ".qcow2", ".img", ".raw", ".vhd", ".vhdx", ".vdi", ".vmdk":
		return true
	case ".zst", ".xz", ".gz", ".bz2":
		return imageName(strings.TrimSuffix(name, ext))
	}
	return false
}
