package builder

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"vmctl/pkg/proc"
)

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
