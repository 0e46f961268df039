package ssh

import (
	"bufio"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"vmctl/pkg/proc"
)

// Knows says that a person has a host of that name already: in their configuration, or because
// they have logged in there (ssh-keygen finds hashed names, too). home is their home directory.
func Knows(ctx context.Context, home, name string) bool {
	dir := filepath.Join(home, ".ssh")
	if config, err := os.Open(filepath.Join(dir, "config")); err == nil {
		defer func() { _ = config.Close() }()
		for lines := bufio.NewScanner(config); lines.Scan(); {
			words := strings.FieldsFunc(lines.Text(), func(r rune) bool { return strings.ContainsRune(" \t=\"", r) })
			if len(words) > 1 && strings.EqualFold(words[0], "host") && slices.Contains(words[1:], name) {
				return true
			}
		}
	}
	_, err := proc.Run(ctx, proc.Cmd{Path: "ssh-keygen", Args: []string{"-F", name, "-f", filepath.Join(dir, "known_hosts")}})
	return err == nil
}
