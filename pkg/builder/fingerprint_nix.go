package builder

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"vmctl/pkg/proc"
)

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
