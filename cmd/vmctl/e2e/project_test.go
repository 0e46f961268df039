//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vmctl/pkg/testenv"
)

// project is a person's copy of the shipped machines, in a git repository of its own.
type project struct {
	p   *person
	dir string
}

func (p *person) project(t *testing.T) *project {
	t.Helper()
	dir := filepath.Join(testenv.Dir(t, p.owner()), "machines")
	for _, part := range []string{"images/tiny", "domain/tiny.yaml"} {
		copyTree(t, filepath.Join("../../..", part), filepath.Join(dir, part))
	}
	pr := &project{p, dir}
	pr.give(t)
	pr.git(t, "init", "-q", "-b", "main")
	pr.git(t, "add", ".")
	return pr
}

func (pr *project) give(t *testing.T) {
	t.Helper()
	if pr.p.name == "tester" {
		testenv.Give(t, pr.dir)
	}
}

func (pr *project) git(t *testing.T, args ...string) {
	t.Helper()
	out, err := pr.p.command(t, pr.dir, "git", args...).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// write writes a file of the project and adds it to git.
func (pr *project) write(t *testing.T, name, content string) {
	t.Helper()
	file := filepath.Join(pr.dir, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
	require.NoError(t, os.WriteFile(file, []byte(content), 0o644))
	pr.give(t)
	pr.git(t, "add", name)
}

// machine writes a definition that boots images/tiny, with lines added.
func (pr *project) machine(t *testing.T, name string, lines ...string) {
	t.Helper()
	base := []string{"memory: 256MiB", "cpus: 1", "network: user"}
	if !strings.Contains(strings.Join(lines, "\n"), "image:") {
		base = append(base, "image: images/tiny")
	}
	var kept []string
	for _, line := range base {
		key, _, _ := strings.Cut(line, ":")
		if !strings.Contains("\n"+strings.Join(lines, "\n"), "\n"+key+":") {
			kept = append(kept, line)
		}
	}
	pr.write(t, "domain/"+name+".yaml", strings.Join(append(kept, lines...), "\n")+"\n")
}

// edit changes a definition as a person with an editor would.
func (pr *project) edit(t *testing.T, name, old, with string) {
	t.Helper()
	file := filepath.Join(pr.dir, "domain", name+".yaml")
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Contains(t, string(content), old)
	require.NoError(t, os.WriteFile(file, []byte(strings.Replace(string(content), old, with, 1)), 0o644))
}

// vmctl runs vmctl in the project; ok demands that it succeeds.
func (pr *project) vmctl(t *testing.T, args ...string) result {
	t.Helper()
	return pr.p.try(t, pr.dir, args...)
}

func (pr *project) ok(t *testing.T, args ...string) result {
	t.Helper()
	return pr.p.ok(t, pr.dir, args...)
}

func (pr *project) refused(t *testing.T, code int, args []string, words ...string) result {
	t.Helper()
	return pr.p.refused(t, code, pr.dir, args, words...)
}

// image is the path of the built image.
func (pr *project) image(t *testing.T, machine string) string {
	t.Helper()
	return strings.TrimSpace(pr.ok(t, "build", machine).out)
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	info, err := os.Stat(from)
	require.NoError(t, err)
	if info.IsDir() {
		require.NoError(t, os.CopyFS(to, os.DirFS(from)))
		return
	}
	copyFile(t, from, to)
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Dir(to), 0o755))
	require.NoError(t, os.WriteFile(to, content, 0o644))
}
