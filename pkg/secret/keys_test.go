package secret_test

import (
	"archive/tar"
	"bytes"
	"crypto/ecdh"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"filippo.io/age/plugin"
	"filippo.io/edwards25519"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"vmctl/pkg/fault"
	"vmctl/pkg/secret"
	"vmctl/pkg/spec"
)

func newKeys(t *testing.T, env map[string]string) secret.Keys {
	t.Helper()
	return secret.Keys{Dir: filepath.Join(t.TempDir(), "keys"), Getenv: func(name string) string { return env[name] }}
}

// What is encrypted to the machine by either of its names opens with its one key.
func TestHostKeyIsAnAgeKeyToo(t *testing.T) {
	key, err := secret.NewHostKey()
	require.NoError(t, err)
	recipient, err := age.ParseX25519Recipient(key.Recipient)
	require.NoError(t, err)
	inSSH, err := agessh.ParseRecipient(key.HostKey)
	require.NoError(t, err)
	identities, err := key.Identities()
	require.NoError(t, err)
	for i, to := range []age.Recipient{recipient, inSSH} {
		plain, err := age.Decrypt(strings.NewReader(seal(t, to)), identities[i])
		require.NoError(t, err)
		got, err := io.ReadAll(plain)
		require.NoError(t, err)
		assert.Equal(t, canary, string(got))
	}
	// As ssh-to-age does it: from the public key alone, on the Montgomery curve.
	public, _, _, _, err := ssh.ParseAuthorizedKey([]byte(key.HostKey))
	require.NoError(t, err)
	point, err := new(edwards25519.Point).SetBytes(public.Marshal()[len(public.Marshal())-32:])
	require.NoError(t, err)
	curve, err := ecdh.X25519().NewPublicKey(point.BytesMontgomery())
	require.NoError(t, err)
	want, err := plugin.EncodeX25519Recipient(curve)
	require.NoError(t, err)
	assert.Equal(t, want, key.Recipient)
}

func TestKeysAreKeptEncrypted(t *testing.T) {
	env := map[string]string{}
	keys := newKeys(t, env)
	_, err := keys.Public("/p", "web")
	require.True(t, fault.Is(err, fault.NotFound), "%v", err)
	made, err := keys.Make("/p", "web")
	require.NoError(t, err)
	again, err := keys.Make("/p", "web")
	require.NoError(t, err)
	assert.Equal(t, made.Public, again.Public)
	public, err := keys.Public("/p", "web")
	require.NoError(t, err)
	assert.Equal(t, made.Public, *public)
	other, err := keys.Make("/q", "web")
	require.NoError(t, err)
	assert.NotEqual(t, made.Public, other.Public, "another project's machine")

	entries, err := os.ReadDir(keys.Dir)
	require.NoError(t, err)
	for _, entry := range entries {
		info, err := entry.Info()
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o600), info.Mode(), entry.Name())
		content, err := os.ReadFile(filepath.Join(keys.Dir, entry.Name()))
		require.NoError(t, err)
		assert.NotContains(t, string(content), "PRIVATE KEY")
	}

	rotated, err := keys.Rotate("/p", "web")
	require.NoError(t, err)
	assert.NotEqual(t, made.Public, rotated.Public)
	public, err = keys.Public("/p", "web")
	require.NoError(t, err)
	assert.Equal(t, rotated.Public, *public)

	// The public half is made again from the private one.
	require.NoError(t, os.Remove(strings.TrimSuffix(keys.File("/p", "web"), ".age")+".pub.json"))
	public, err = keys.Public("/p", "web")
	require.NoError(t, err)
	assert.Equal(t, rotated.Public, *public)

	stranger, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "id")
	require.NoError(t, os.WriteFile(file, []byte(stranger.String()), 0o600))
	env["VMCTL_AGE_IDENTITY"] = file
	_, err = keys.Load("/p", "web")
	require.ErrorContains(t, err, "the key of web cannot be opened")
	assert.NotContains(t, err.Error(), stranger.String())
}

func TestKeysAreMadeOnce(t *testing.T) {
	keys := newKeys(t, map[string]string{})
	found := make([]string, 8)
	var all sync.WaitGroup
	for i := range found {
		all.Go(func() {
			if key, err := keys.Make("/p", "web"); err == nil {
				found[i] = key.Recipient
			}
		})
	}
	all.Wait()
	for _, f := range found {
		assert.Equal(t, found[0], f)
		assert.NotEmpty(t, f)
	}
}

func TestOperatorsSSHKey(t *testing.T) {
	key, err := secret.NewHostKey()
	require.NoError(t, err)
	text, err := key.PEM("me")
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "id_ed25519")
	require.NoError(t, os.WriteFile(file, text, 0o600))
	keys := newKeys(t, map[string]string{"VMCTL_AGE_IDENTITY": file})
	made, err := keys.Make("/p", "web")
	require.NoError(t, err)
	again, err := keys.Load("/p", "web")
	require.NoError(t, err)
	assert.Equal(t, made.Public, again.Public)
}

func TestPack(t *testing.T) {
	key, err := secret.NewHostKey()
	require.NoError(t, err)
	p := secret.NewPack(true)
	p.Add(spec.Secret{Name: "db"}, []byte(canary))
	p.Add(spec.Secret{Name: "kept", Persist: true}, []byte("k"))
	p.AddHostKey("web", key)
	packed, err := p.Bytes()
	require.NoError(t, err)
	modes := map[string]int64{}
	for r := tar.NewReader(bytes.NewReader(packed[0])); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		assert.Zero(t, h.Uid)
		modes[h.Name] = h.Mode
	}
	assert.Equal(t, map[string]int64{
		"complete": 0o400, "credstore/db": 0o400, "persist/kept": 0o400,
		"ssh/ssh_host_ed25519_key": 0o600, "ssh/ssh_host_ed25519_key.pub": 0o644,
	}, modes)
	p.Wipe()
	assert.NotContains(t, string(packed[0]), canary)

	p = secret.NewPack(true)
	for i := range 5 {
		p.Add(spec.Secret{Name: string(rune('a' + i))}, make([]byte, secret.MaxBytes))
	}
	_, err = p.Bytes()
	require.ErrorContains(t, err, "larger than 4MiB together")
}

func TestGuard(t *testing.T) {
	var before, now unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_CORE, &before))
	// Where there are no core dumps anyway, nothing would be seen of what keeps them away.
	lowest := before.Cur
	defer func() {
		assert.NoError(t, unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: lowest, Max: before.Max}))
	}()
	before.Cur = before.Max
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_CORE, &before))
	release := secret.Guard()
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	require.NoError(t, err)
	assert.Zero(t, dumpable)
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_CORE, &now))
	assert.Zero(t, now.Cur)
	release()
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_CORE, &now))
	assert.Equal(t, before, now)
}
