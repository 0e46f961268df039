package secret

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// MaxBytes is the most that one secret may have: systemd refuses larger credentials.
const MaxBytes = 1 << 20

// worldReadable is the permission that makes a file everybody's.
const worldReadable = 0o004

// Reader reads secrets on the client.
type Reader struct {
	// Dir is what relative paths are relative to, and where commands run.
	Dir string
	// Getenv gives variables of vmctl's environment.
	Getenv func(string) string
	// Warn is told of what a person should see to; it never gets a secret.
	Warn func(text string)
	// Ask is asked for passphrases of the person's own identities.
	Ask Ask
	// Keys are the age identities beside the person's own: vmctl's, and the machine's.
	Keys []Identities
}

// Read gives a secret's bytes, which the caller wipes. The error says which secret could
// not be read and why, and never what is in it.
func (r Reader) Read(ctx context.Context, s spec.Secret) ([]byte, error) {
	value, err := r.read(ctx, s)
	switch {
	case err != nil:
		Wipe(value)
		outer := fault.New(fault.KindOf(err), "secret %s cannot be read: %w", s.Name, err)
		if hint := fault.HintOf(err); hint != "" {
			return nil, outer.WithHint("%s", hint)
		}
		return nil, outer
	case len(value) > MaxBytes:
		Wipe(value)
		return nil, tooLarge(s.Name)
	case len(value) == 0:
		return nil, fault.New(fault.Invalid, "secret %s is empty: %s holds nothing", s.Name, s.Source())
	}
	return value, nil
}

func tooLarge(name string) error {
	return fault.New(fault.Invalid, "secret %s is larger than %s, the most that systemd takes", name, spec.Size(MaxBytes)).
		WithHint("hand over a key as the secret, and what it opens by other means")
}

func (r Reader) read(ctx context.Context, s spec.Secret) ([]byte, error) {
	switch {
	case s.File != "":
		return r.file(s.File, true)
	case s.Env != "":
		value := r.Getenv(s.Env)
		if value == "" {
			return nil, fault.New(fault.NotFound, "the environment variable %s is not set", s.Env).
				WithHint("set it for vmctl, and for nothing else: read -rs %[1]s; export %[1]s", s.Env)
		}
		return []byte(value), nil
	case len(s.Command) > 0:
		return r.command(ctx, s.Command)
	case s.Sops != "":
		return r.sops(ctx, s.Sops, s.SopsKey)
	default:
		encrypted, err := r.file(s.Age, false)
		if err != nil {
			return nil, err
		}
		return r.decrypt(encrypted, s.Age)
	}
}

// Path is a path of a definition on this machine.
func (r Reader) Path(path string) (string, error) {
	if rest, home := strings.CutPrefix(path, "~/"); home {
		dir := r.Getenv("HOME")
		if !filepath.IsAbs(dir) {
			return "", fault.New(fault.NotFound, "there is no home directory: HOME is not set").WithHint("set HOME, or write the whole path")
		}
		return filepath.Join(dir, rest), nil
	}
	if filepath.IsAbs(path) {
		return filepath.Clean(path), nil
	}
	return filepath.Join(r.Dir, path), nil
}

// file reads a file, once and into a buffer of its size, so that nothing is copied. One
// with a plain secret must not be where everybody can read it.
func (r Reader) file(name string, plain bool) ([]byte, error) {
	path, err := r.Path(name)
	if err != nil {
		return nil, err
	}
	if plain {
		if err := r.outsideStore(name, path); err != nil {
			return nil, err
		}
	}
	// Opening a pipe would wait for its writer.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, unreadable(name, err)
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, unreadable(name, err)
	case info.IsDir():
		return nil, fault.New(fault.Invalid, "%s is a directory", name)
	case !info.Mode().IsRegular():
		return nil, fault.New(fault.Invalid, "%s is not a regular file", name).WithHint("give a program's output by command instead")
	case info.Size() > MaxBytes+overhead:
		return nil, fault.New(fault.Invalid, "%s is larger than %s", name, spec.Size(MaxBytes))
	case plain && info.Mode().Perm()&worldReadable != 0:
		r.Warn("everybody on this machine can read " + name + ": chmod 600 " + name)
	}
	content := make([]byte, info.Size()+1)
	n, err := io.ReadFull(file, content)
	switch {
	case err == nil:
		Wipe(content)
		return nil, fault.New(fault.Refused, "%s grew while it was read", name).WithHint("try again")
	case !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		Wipe(content)
		return nil, unreadable(name, err)
	}
	return content[:n], nil
}

// outsideStore refuses what is in the nix store, by whatever links it is reached:
// everybody can read it there, and it stays there.
func (r Reader) outsideStore(name, path string) error {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return unreadable(name, err)
	}
	stores := []string{"/nix/store"}
	if dir := r.Getenv("NIX_STORE_DIR"); filepath.IsAbs(dir) {
		stores = append(stores, filepath.Clean(dir))
	}
	for _, store := range stores {
		if strings.HasPrefix(real, store+"/") || strings.HasPrefix(path, store+"/") {
			return fault.New(fault.Refused, "%s is in the nix store, where everybody can read it", name).
				WithHint("move it out, and change the secret: what was in the store is no secret any more")
		}
	}
	return nil
}

func unreadable(name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		missing := &fault.Error{Kind: fault.NotFound, Msg: "there is no file " + name, Cause: err}
		return missing.WithHint("make it, or correct the secret's source in the definition; paths are relative to the project")
	}
	if inner, ok := errors.AsType[*fs.PathError](err); ok {
		err = inner.Err
	}
	return fault.New(fault.Other, "%s: %w", name, err)
}

// chomp takes one line break from the end, which programs print and nobody means.
func chomp(b []byte) []byte { return bytes.TrimSuffix(bytes.TrimSuffix(b, []byte("\n")), []byte("\r")) }
