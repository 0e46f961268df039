package secret_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/fault"
	"vmctl/pkg/secret"
	"vmctl/pkg/spec"
)

const canary = "correct horse battery staple"

// desk is a project and an environment to read secrets with.
type desk struct {
	*testing.T
	dir    string
	env    map[string]string
	warned []string
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	return &desk{T: t, dir: t.TempDir(), env: map[string]string{"HOME": t.TempDir()}}
}

func (d *desk) reader(keys ...secret.Identities) secret.Reader {
	return secret.Reader{
		Dir: d.dir, Getenv: func(name string) string { return d.env[name] }, Keys: keys,
		Warn: func(text string) { d.warned = append(d.warned, text) },
	}
}

func (d *desk) file(name, content string, mode os.FileMode) string {
	d.Helper()
	path := name
	if !filepath.IsAbs(name) {
		path = filepath.Join(d.dir, name)
	}
	require.NoError(d, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(d, os.WriteFile(path, []byte(content), mode))
	require.NoError(d, os.Chmod(path, mode))
	return path
}

func TestReadsEverySource(t *testing.T) {
	d := newDesk(t)
	identity, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	d.file("keys.txt", identity.String()+"\n", 0o600)
	d.env["SOPS_AGE_KEY_FILE"] = filepath.Join(d.dir, "keys.txt")
	d.env["TOKEN"] = canary
	d.file("plain", canary+"\n", 0o600)
	d.file(filepath.Join(d.env["HOME"], "home"), canary, 0o600)
	d.file("sealed.age", seal(t, identity.Recipient()), 0o644)
	bin := filepath.Join(t.TempDir(), "bin")
	d.file(filepath.Join(bin, "sops"), "#!/bin/sh\nprintf '%s|' \"$@\"\n", 0o755)
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	for _, c := range []struct {
		s    spec.Secret
		want string
	}{
		{spec.Secret{File: "plain"}, canary + "\n"},
		{spec.Secret{File: "~/home"}, canary},
		{spec.Secret{Env: "TOKEN"}, canary},
		{spec.Secret{Command: []string{"printf", "%s\n\n", canary}}, canary + "\n"},
		{spec.Secret{Command: []string{"cat", "plain"}}, canary},
		{spec.Secret{Age: "sealed.age"}, canary},
		{spec.Secret{Sops: "s.yaml"}, "--decrypt|" + d.dir + "/s.yaml|"},
		{spec.Secret{Sops: "s.yaml", SopsKey: `db.pass"word.0`}, `--decrypt|--extract|["db"]["pass\"word"][0]|` + d.dir + "/s.yaml|"},
	} {
		c.s.Name = "db"
		got, err := d.reader().Read(t.Context(), c.s)
		require.NoError(t, err, c.s.Source())
		assert.Equal(t, c.want, string(got), c.s.Source())
	}
	assert.Empty(t, d.warned)
}

func TestRefusesWithoutSayingTheSecret(t *testing.T) {
	d := newDesk(t)
	store := filepath.Join(t.TempDir(), "store")
	d.env["NIX_STORE_DIR"] = store
	d.file(filepath.Join(store, "abc-key"), canary, 0o444)
	require.NoError(t, os.Symlink(filepath.Join(store, "abc-key"), filepath.Join(d.dir, "link")))
	d.file("empty", "", 0o600)
	d.file("large", strings.Repeat("x", secret.MaxBytes+1), 0o600)
	d.file("huge", strings.Repeat("x", 3<<20), 0o600)
	d.file("junk.age", canary, 0o600)
	other, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	d.file("other.age", seal(t, other.Recipient()), 0o600)
	for _, c := range []struct {
		s    spec.Secret
		kind fault.Kind
		says string
	}{
		{spec.Secret{File: "absent"}, fault.NotFound, "there is no file absent"},
		{spec.Secret{File: "."}, fault.Invalid, ". is a directory"},
		{spec.Secret{File: "/dev/null"}, fault.Invalid, "not a regular file"},
		{spec.Secret{File: "link"}, fault.Refused, "link is in the nix store"},
		{spec.Secret{File: "empty"}, fault.Invalid, "secret db is empty"},
		{spec.Secret{File: "large"}, fault.Invalid, "larger than 1MiB"},
		{spec.Secret{File: "huge"}, fault.Invalid, "larger than 1MiB"},
		{spec.Secret{Env: "UNSET"}, fault.NotFound, "UNSET is not set"},
		{spec.Secret{Command: []string{"no-such-program"}}, fault.NotFound, "no-such-program is not installed"},
		{spec.Secret{Command: []string{"sh", "-c", "echo '" + canary + "'; echo sorry >&2; exit 3"}}, fault.Other, "exit code 3: sorry"},
		{spec.Secret{Command: []string{"sh", "-c", "head -c 2000000 /dev/zero"}}, fault.Invalid, "larger than 1MiB"},
		{spec.Secret{Command: []string{"true"}}, fault.Invalid, "secret db is empty"},
		{spec.Secret{Sops: "s.yaml"}, fault.NotFound, "sops is not installed"},
		{spec.Secret{Age: "other.age"}, fault.NotFound, "no age identity"},
	} {
		c.s.Name = "db"
		_, err := d.reader().Read(t.Context(), c.s)
		require.Error(t, err, c.s.Source())
		assert.Contains(t, err.Error(), c.says)
		assert.Equal(t, c.kind, fault.KindOf(err), err.Error())
		assert.NotContains(t, err.Error()+fault.HintOf(err), canary)
	}
	identity, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	d.env["SOPS_AGE_KEY"] = identity.String()
	for name, says := range map[string]string{"other.age": "none of your age identities", "junk.age": "not what age encrypts"} {
		_, err = d.reader().Read(t.Context(), spec.Secret{Name: "db", Age: name})
		require.ErrorContains(t, err, says)
	}
	d.env["SOPS_AGE_KEY"] = canary
	_, err = d.reader().Read(t.Context(), spec.Secret{Name: "db", Age: "other.age"})
	require.ErrorContains(t, err, "SOPS_AGE_KEY does not hold age identities")
	assert.NotContains(t, err.Error(), canary)
}

func TestWarnsOfAFileThatEverybodyReads(t *testing.T) {
	d := newDesk(t)
	d.file("open", canary, 0o644)
	_, err := d.reader().Read(t.Context(), spec.Secret{Name: "db", File: "open"})
	require.NoError(t, err)
	assert.Equal(t, []string{"everybody on this machine can read open: chmod 600 open"}, d.warned)
}

func seal(t *testing.T, to age.Recipient) string {
	t.Helper()
	var out strings.Builder
	w, err := age.Encrypt(&out, to)
	require.NoError(t, err)
	_, err = w.Write([]byte(canary))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return out.String()
}
