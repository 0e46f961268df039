package testenv

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Tool asks for programs. When one is missing the test is skipped with its name, or
// fails where the environment has CI set: there a skip would hide that nothing was tested.
func Tool(t testing.TB, names ...string) {
	t.Helper()
	var missing []string
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		Missing(t, "programs not installed: "+strings.Join(missing, ", ")+" (go tool task setup installs them)")
	}
}

// Programs is a directory, for a PATH, with these programs alone.
func Programs(t testing.TB, names ...string) string {
	t.Helper()
	dir := Dir(t, "")
	for _, name := range names {
		path, err := exec.LookPath(name)
		must(t, err)
		must(t, os.Symlink(path, filepath.Join(dir, name)))
	}
	return dir
}

// Missing ends a test that cannot run here: it fails where CI is set and is skipped elsewhere.
func Missing(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(why)
		return
	}
	t.Skip(why)
}
