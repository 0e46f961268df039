package guest

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"vmctl/pkg/fault"
	"vmctl/pkg/safefile"
)

const (
	// maxKeys and maxKey bound what a guest can put into the file of known keys.
	maxKeys = 8
	maxKey  = 4 << 10
)

// keyTypes are the host keys that OpenSSH takes today.
func keyTypes() []string {
	return []string{"ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa"}
}

// HostKey is the public part of a machine's ssh host key, in the words of a .pub file:
// "ssh-ed25519 AAAA…". It has been checked to be one and nothing else.
type HostKey string

// ParseHostKeys reads the lines that are public keys and passes over what is none.
func ParseHostKeys(text string) []HostKey {
	var keys []HostKey
	for line := range strings.Lines(text) {
		key, ok := parseHostKey(line)
		if ok && !slices.Contains(keys, key) && len(keys) < maxKeys {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

func parseHostKey(line string) (HostKey, bool) {
	words := strings.Fields(line)
	if len(words) < 2 || len(words[1]) > maxKey || !slices.Contains(keyTypes(), words[0]) {
		return "", false
	}
	blob, err := base64.StdEncoding.DecodeString(words[1])
	if err != nil || len(blob) < 4 {
		return "", false
	}
	// The type stands in the key once more.
	n := binary.BigEndian.Uint32(blob)
	if uint64(n) > uint64(len(blob)-4) || !bytes.Equal(blob[4:4+n], []byte(words[0])) {
		return "", false
	}
	return HostKey(words[0] + " " + words[1]), true
}

// Known is the file of the host keys of one machine, in the format of ssh's
// known_hosts. It is vmctl's own; ssh may add to it when a person says yes.
type Known struct {
	// Path is the file.
	Path string
	// Alias is the name that its lines have, whatever the machine's address is.
	Alias string
}

// Keys are the keys in the file; none when there is no file.
func (k Known) Keys() ([]HostKey, error) {
	text, err := os.ReadFile(k.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.New(fault.Other, "the known ssh host keys cannot be read: %w", err)
	}
	var lines strings.Builder
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, k.Alias+" "); ok {
			lines.WriteString(rest)
		}
	}
	return ParseHostKeys(lines.String()), nil
}

// Learn makes these keys the machine's, in the place of others.
func (k Known) Learn(keys []HostKey) error {
	var lines strings.Builder
	for _, key := range keys {
		fmt.Fprintf(&lines, "%s %s\n", k.Alias, key)
	}
	err := os.MkdirAll(filepath.Dir(k.Path), 0o700)
	if err == nil {
		err = safefile.Write(k.Path, []byte(lines.String()))
	}
	if err != nil {
		return fault.New(fault.Other, "the ssh host key cannot be kept: %w", err).
			WithHint("make %s writable, or set XDG_STATE_HOME to a directory that is", filepath.Dir(k.Path))
	}
	return nil
}

// Forget removes the file.
func (k Known) Forget() error {
	if err := safefile.Remove(k.Path); err != nil {
		return fault.New(fault.Other, "the known ssh host key cannot be removed: %w", err)
	}
	return nil
}

// HostKeys asks the guest for its ssh host keys, over a way that only its host controls.
// None and no error is a guest without any.
func (a *Agent) HostKeys(ctx context.Context) ([]HostKey, error) {
	var out strings.Builder
	status, err := a.Run(ctx, Command{
		Argv: script(`cat /etc/ssh/ssh_host_*_key.pub 2>/dev/null`), Stdout: limited{&out},
	})
	if err == nil && (status == 0 || out.Len() > 0) {
		return ParseHostKeys(out.String()), nil
	}
	if err != nil && !disabled(err) {
		return nil, err
	}
	// Where programs may not be run, files may perhaps be read.
	for _, kind := range []string{"ed25519", "ecdsa", "rsa"} {
		f, err := a.open(ctx, "/etc/ssh/ssh_host_"+kind+"_key.pub", "r")
		if err != nil {
			if other := notYet(err); other != nil && !disabled(err) {
				return nil, other
			}
			continue
		}
		p, err := f.read(ctx, maxKey)
		if err = errors.Join(err, f.close(ctx)); err != nil {
			return nil, err
		}
		out.Write(p)
		out.WriteByte('\n')
	}
	return ParseHostKeys(out.String()), nil
}

// limited keeps the beginning.
type limited struct{ to *strings.Builder }

func (l limited) Write(p []byte) (int, error) {
	l.to.Write(p[:max(0, min(len(p), maxKeys*maxKey-l.to.Len()))])
	return len(p), nil
}
