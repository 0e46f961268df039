package builder

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"vmctl/pkg/proc"
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
var lockedURL = regexp.MustCompile(`^(?:(?:github|gitlab|sourcehut):[^?]+/[^?/]+/[0-9a-f]{40}(?:\?.*)?|git\+(?:https|ssh)://[^?]+\?(?:.*&)?rev=[0-9a-f]{40}(?:&.*)?)$`)

// fingerprint looks at files, and starts git, but never nix.
func (b *Builder) fingerprint(ctx context.Context, ref Ref) fingerprint {
	if b.cacheDir == "" {
		return fingerprint{}
	}
	s := &scan{hash: sha256.New(), began: time.Now(), racy: map[string]string{}, sure: true}
	s.note("vmctl builder", fmt.Sprint(cacheVersion))
	s.note(append([]string{ref.Flake, ref.Attr, ref.Machine}, b.settings...)...)
	b.scanNix(s)
	switch root := treeRoot(ref.Flake); {
	case !ref.local():
		s.sure = s.sure && lockedURL.MatchString(ref.Flake)
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
}

// note adds strings so that no two lists of strings look the same.
func (s *scan) note(parts ...string) {
	for _, part := range parts {
		_, _ = fmt.Fprintf(s.hash, "%d:%s,", len(part), part)
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
	s.note(fmt.Sprint(stat.Ino, stat.Dev, stat.Mode, stat.Size, stat.Mtim.Nano(), stat.Ctim.Nano()))
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
	defer file.Close() //nolint:errcheck // read only
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

// scanRepository adds what git shows to nix: all tracked files of the repository as
// they lie in the work tree, and the commit, which a flake can read as self.rev.
func (b *Builder) scanRepository(ctx context.Context, s *scan, root, flake string) {
	git := func(args ...string) (string, error) {
		res, err := proc.Run(ctx, proc.Cmd{Path: "git", Args: append([]string{"-C", root}, args...), Env: b.environ()})
		return string(res.Stdout), err
	}
	var head string
	var noHead error
	var asked sync.WaitGroup
	// A repository without a commit has no HEAD.
	asked.Go(func() { head, noHead = git("rev-parse", "--verify", "--quiet", "HEAD") })
	index, err := git("ls-files", "--stage", "-z")
	asked.Wait()
	s.note(index, head, fmt.Sprint(noHead == nil))
	if err != nil || ctx.Err() != nil {
		s.sure = false
		return
	}
	lock, tracked := filepath.Join(flake, "flake.lock"), false
	for entry := range strings.SplitSeq(index, "\x00") {
		mode, path, ok := strings.Cut(entry, "\t")
		if !ok {
			continue
		}
		// A submodule, or a conflict.
		if strings.HasPrefix(mode, "160000") || !strings.HasSuffix(mode, " 0") {
			s.sure = false
			return
		}
		file := filepath.Join(root, path)
		s.file(file)
		tracked = tracked || file == lock
		if filepath.Base(path) == ".gitattributes" {
			s.attributes(file)
		}
		if !s.sure {
			return
		}
	}
	s.lock(flake, tracked)
}

// attributes gives up where git does not show files as they lie in the work tree.
func (s *scan) attributes(file string) {
	text, err := os.ReadFile(file)
	if err != nil || regexp.MustCompile(`(?m)\b(filter|ident|export-subst|export-ignore|working-tree-encoding)\b`).Match(text) {
		s.sure = false
	}
}

// lock gives up where an input is not fixed by flake.lock.
func (s *scan) lock(flake string, present bool) {
	if !present {
		text, err := os.ReadFile(filepath.Join(flake, "flake.nix"))
		s.sure = s.sure && err == nil && !strings.Contains(string(text), "inputs")
		return
	}
	text, err := os.ReadFile(filepath.Join(flake, "flake.lock"))
	s.sure = s.sure && err == nil && locked(text)
}

// locked says that every input of a flake.lock is fixed by its content.
func locked(text []byte) bool {
	var lock struct {
		Root  string `json:"root"`
		Nodes map[string]struct {
			Locked map[string]any `json:"locked"`
		} `json:"nodes"`
	}
	if json.Unmarshal(text, &lock) != nil || lock.Nodes == nil {
		return false
	}
	for name, node := range lock.Nodes {
		if name == lock.Root {
			continue
		}
		kind, _ := node.Locked["type"].(string)
		hash, _ := node.Locked["narHash"].(string)
		url, _ := node.Locked["url"].(string)
		if hash == "" || kind == "" || kind == "path" || kind == "indirect" ||
			url != "" && (!strings.Contains(url, "://") || strings.HasPrefix(url, "file:")) {
			return false
		}
	}
	return true
}

// scanNix adds nix itself and its settings.
func (b *Builder) scanNix(s *scan) {
	path, err := proc.LookPath(b.nix, b.env)
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		s.sure = false
		return
	}
	s.file(path)
	env := proc.Environ(b.environ())
	slices.Sort(env)
	values := map[string]string{}
	for _, entry := range env {
		key, value, _ := strings.Cut(entry, "=")
		values[key] = value
		switch {
		case strings.HasPrefix(key, "NIX_"):
			s.note(entry)
		case key == "GIT_DIR" || key == "GIT_WORK_TREE" || key == "GIT_INDEX_FILE":
			// Then git and nix may not mean the same repository.
			s.sure = false
		}
	}
	for _, conf := range confFiles(values) {
		s.conf(conf, 0)
	}
}

// confFiles are the places where nix looks for settings, in its own order
// (https://nix.dev/manual/nix/stable/command-ref/conf-file).
func confFiles(env map[string]string) []string {
	system := env["NIX_CONF_DIR"]
	if system == "" {
		system = "/etc/nix"
	}
	files := []string{filepath.Join(system, "nix.conf")}
	if user := env["NIX_USER_CONF_FILES"]; user != "" {
		return append(files, filepath.SplitList(user)...)
	}
	home := env["XDG_CONFIG_HOME"]
	if home == "" {
		home = filepath.Join(env["HOME"], ".config")
	}
	dirs := env["XDG_CONFIG_DIRS"]
	if dirs == "" {
		dirs = "/etc/xdg"
	}
	for _, dir := range append([]string{home}, filepath.SplitList(dirs)...) {
		files = append(files, filepath.Join(dir, "nix", "nix.conf"))
	}
	return files
}

var confInclude = regexp.MustCompile(`(?m)^\s*!?include\s+(\S+)`)

// conf adds a settings file and what it includes, by content: it is small, and may be
// a link.
func (s *scan) conf(path string, depth int) {
	text, err := os.ReadFile(path)
	s.note(path, fmt.Sprint(err == nil), string(text))
	if err != nil && !os.IsNotExist(err) || depth > 3 {
		s.sure = false
		return
	}
	for _, m := range confInclude.FindAllStringSubmatch(string(text), -1) {
		file := m[1]
		if !filepath.IsAbs(file) {
			file = filepath.Join(filepath.Dir(path), file)
		}
		s.conf(file, depth+1)
	}
}
