package builder

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// The bounds of what a fingerprint looks at. Above them nix decides each time.
const (
	maxFiles     = 50_000
	maxRacyFiles = 2_000
	maxRacyBytes = 64 << 20
)

// racySlack is how old a change must be before its time stamp proves anything: file
// systems keep time stamps in steps, of two seconds at worst.
const racySlack = 3 * time.Second

// fingerprint is everything that decides what a flake evaluates to, in one hash.
// Evaluation is pure, so for a local flake that is its source tree, its lock, nix
// itself and nix's settings.
type fingerprint struct {
	// sure is false when something was found that the hash cannot stand for.
	sure bool
	sum  string
	racy map[string]string
}

// overlap gives f's view of the files that were racy in another fingerprint.
func (f fingerprint) overlap(other fingerprint) map[string]string {
	view := map[string]string{}
	for file, sum := range other.racy {
		view[file] = sum
		if again, err := hashFile(file); err != nil || again != sum {
			delete(view, file)
		}
	}
	return view
}

// lockedURL is a remote flake whose content the URL itself fixes.
var lockedURL = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(?:(?:github|gitlab|sourcehut):[^?]+/[^?/]+/[0-9a-f]{40}(?:\?.*)?|git\+(?:https|ssh)://[^?]+\?(?:.*&)?rev=[0-9a-f]{40}(?:&.*)?)$`)
})

// fingerprint looks at files, and starts git, but never nix.
func (b *Builder) fingerprint(ctx context.Context, ref Ref) fingerprint {
	if b.cacheDir == "" {
		return fingerprint{}
	}
	s := &scan{hash: sha256.New(), began: time.Now(), racy: map[string]string{}, sure: true}
	s.note("vmctl builder", fmt.Sprint(cacheVersion))
	s.note(append([]string{ref.Flake, ref.Attr, ref.Machine, ref.Firmware, fmt.Sprint(ref.NoKVM), wrapperDigest()}, b.settings...)...)
	b.scanNix(s)
	switch root := treeRoot(ref.Flake); {
	case !ref.local():
		s.sure = s.sure && lockedURL().MatchString(ref.Flake)
	case exists(filepath.Join(root, ".git")):
		b.scanRepository(ctx, s, root, ref.Flake)
	default:
		s.tree(ref.Flake)
		s.lock(ref.Flake, exists(filepath.Join(ref.Flake, "flake.lock")))
	}
	if !s.sure {
		return fingerprint{}
	}
	return fingerprint{sure: true, sum: hex.EncodeToString(s.hash.Sum(nil)), racy: s.racy}
}

// scan collects a fingerprint.
type scan struct {
	hash  hash.Hash
	began time.Time
	racy  map[string]string
	bytes int64
	files int
	sure  bool
	// scratch is what is hashed next: there may be many files.
	scratch []byte
}

// note adds strings so that no two lists of strings look the same.
func (s *scan) note(parts ...string) {
	for _, part := range parts {
		s.scratch = strconv.AppendInt(s.scratch[:0], int64(len(part)), 10)
		s.scratch = append(append(append(s.scratch, ':'), part...), ',')
		_, _ = s.hash.Write(s.scratch) // a hash never fails
	}
}

// file adds a file's identity, or that there is none.
func (s *scan) file(path string) {
	s.note(path)
	if s.files++; s.files > maxFiles {
		s.sure = false
		return
	}
	info, err := os.Lstat(path)
	if os.IsNotExist(err) {
		s.note("absent")
		return
	}
	stat, ok := sysStat(info)
	if err != nil || !ok {
		s.sure = false
		return
	}
	var numbers [128]byte
	text := numbers[:0]
	for _, n := range [...]int64{int64(stat.Ino), int64(stat.Dev), int64(stat.Mode), stat.Size, stat.Mtim.Nano(), stat.Ctim.Nano()} { //nolint:gosec // any other number would do
		text = append(strconv.AppendInt(text, n, 10), ' ')
	}
	s.note(string(text))
	// The change time cannot be set by hand, unlike the modification time.
	if changed := time.Unix(0, max(stat.Ctim.Nano(), stat.Mtim.Nano())); info.Mode().IsRegular() && changed.After(s.began.Add(-racySlack)) {
		s.bytes += info.Size()
		if s.bytes > maxRacyBytes || len(s.racy) >= maxRacyFiles {
			s.sure = false
			return
		}
		sum, err := hashFile(path)
		if err != nil {
			s.sure = false
			return
		}
		s.racy[path] = sum
	}
}

func sysStat(info os.FileInfo) (*syscall.Stat_t, bool) {
	if info == nil {
		return nil, false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return stat, ok
}

// hashFile is the sha256 of what a file holds.
func hashFile(path string) (string, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer file.Close()
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(file, maxRacyBytes+1)); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// tree adds every file below a directory that is no repository: nix copies them all.
func (s *scan) tree(dir string) {
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !s.sure {
			return filepath.SkipAll
		}
		s.file(path)
		return nil
	})
	if err != nil {
		s.sure = false
	}
}
