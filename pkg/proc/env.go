package proc

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// environ applies changes to a base environment: "KEY=value" sets, "KEY=" removes.
func environ(base, changes []string) []string {
	env := slices.Clone(base)
	for _, change := range changes {
		key, value, _ := strings.Cut(change, "=")
		env = slices.DeleteFunc(env, func(entry string) bool { return strings.HasPrefix(entry, key+"=") })
		if value != "" {
			env = append(env, change)
		}
	}
	return env
}

// LookPath finds a program as Run does: a name with a slash is that file, any
// other is searched in the PATH that a child with these changes of the environment
// would have. Relative entries of PATH are skipped: what a project's directory
// holds must never be run by accident. The error matches ErrNotFound.
func LookPath(name string, env []string) (string, error) {
	return lookPath(name, environ(os.Environ(), env))
}

func lookPath(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		path, err := filepath.Abs(name)
		if err != nil {
			return "", err
		}
		return path, executable(path)
	}
	for _, dir := range filepath.SplitList(getenv(env, "PATH")) {
		if path := filepath.Join(dir, name); name != "" && filepath.IsAbs(dir) && executable(path) == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s: %w", name, ErrNotFound)
}

func getenv(env []string, key string) string {
	for _, entry := range slices.Backward(env) {
		if value, ok := strings.CutPrefix(entry, key+"="); ok {
			return value
		}
	}
	return ""
}

func executable(path string) error {
	info, err := os.Stat(path)
	if err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
		return fmt.Errorf("%s: %w", path, ErrNotFound)
	}
	return nil
}

// Environ is our own environment with changes applied as Cmd.Env describes.
func Environ(changes []string) []string { return environ(os.Environ(), changes) }
