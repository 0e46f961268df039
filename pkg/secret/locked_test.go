package secret_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"filippo.io/age"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"vmctl/pkg/fault"
	"vmctl/pkg/secret"
	"vmctl/pkg/spec"
)

// guarded are keys whose passphrases are answered; asked counts how often.
func guarded(t *testing.T, env map[string]string, answer *string, asked *int) secret.Keys {
	t.Helper()
	keys := newKeys(t, env)
	keys.Work = 10
	keys.Ask = func(string) ([]byte, error) { *asked++; return []byte(*answer), nil }
	return keys
}

func TestAPassphraseLocksTheOperatorsIdentity(t *testing.T) {
	answer, asked := "correct horse", 0
	keys := guarded(t, nil, &answer, &asked)
	before, err := keys.Make("/p", "web")
	require.NoError(t, err)
	recipient, err := keys.OperatorRecipient()
	require.NoError(t, err)
	file := filepath.Join(keys.Dir, "operator.txt")
	plain, err := os.ReadFile(file)
	require.NoError(t, err)

	require.NoError(t, keys.SetPassphrase([]byte("correct horse")))
	locked, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.NotContains(t, string(locked), "AGE-SECRET-KEY")
	same, err := keys.OperatorRecipient()
	require.NoError(t, err)
	assert.Equal(t, recipient, same)
	_, err = keys.Public("/p", "web")
	require.NoError(t, err)
	assert.Zero(t, asked, "what is public needs no passphrase")
	keys.Ring = &secret.Ring{}
	for range 2 {
		again, err := keys.Load("/p", "web")
		require.NoError(t, err)
		assert.Equal(t, before.Public, again.Public)
	}
	assert.Equal(t, 1, asked, "nobody is asked twice")

	answer = "wrong"
	keys.Ring = nil
	_, err = keys.Load("/p", "web")
	require.ErrorContains(t, err, "the passphrase does not open")
	assert.Equal(t, fault.Refused, fault.KindOf(err))
	require.Error(t, keys.SetPassphrase([]byte("other")), "the old one is needed")
	now, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, locked, now)

	answer = "correct horse"
	require.NoError(t, keys.SetPassphrase([]byte("other")))
	answer = "other"
	had, err := keys.RemovePassphrase()
	require.NoError(t, err)
	assert.True(t, had)
	now, err = os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, plain, now, "to the byte")
	had, err = keys.RemovePassphrase()
	require.NoError(t, err)
	assert.False(t, had)
}

// A secret that age encrypted to vmctl's own identity asks for the passphrase, too.
func TestALockedIdentityOpensSecrets(t *testing.T) {
	answer, asked := "correct horse", 0
	keys := guarded(t, nil, &answer, &asked)
	require.NoError(t, keys.SetPassphrase([]byte(answer)))
	recipient, err := keys.OperatorRecipient()
	require.NoError(t, err)
	to, err := age.ParseX25519Recipient(recipient)
	require.NoError(t, err)
	d := newDesk(t)
	d.file("db.age", seal(t, to), 0o600)
	got, err := d.reader(keys.Operator).Read(t.Context(), spec.Secret{Name: "db", Age: "db.age"})
	require.NoError(t, err)
	assert.Equal(t, canary, string(got))
	answer = "wrong"
	_, err = d.reader(keys.Operator).Read(t.Context(), spec.Secret{Name: "db", Age: "db.age"})
	require.ErrorContains(t, err, "the passphrase does not open")
	assert.NotContains(t, err.Error(), canary)
}

// The operator's own ssh key may have a passphrase; it is not vmctl's to change.
func TestAnSSHKeyWithAPassphraseIsAnIdentity(t *testing.T) {
	answer, asked := "correct horse", 0
	file := filepath.Join(t.TempDir(), "id_ed25519")
	keys := guarded(t, map[string]string{"VMCTL_AGE_IDENTITY": file}, &answer, &asked)
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	block, err := ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte(answer))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(block), 0o600))
	made, err := keys.Make("/p", "web")
	require.NoError(t, err)
	assert.Positive(t, asked)
	loaded, err := keys.Load("/p", "web")
	require.NoError(t, err)
	assert.Equal(t, made.Public, loaded.Public)
	err = keys.SetPassphrase([]byte("other"))
	assert.Equal(t, fault.Refused, fault.KindOf(err), "%v", err)
	_, err = keys.RemovePassphrase()
	assert.Equal(t, fault.Refused, fault.KindOf(err), "%v", err)
}

func TestCredentialsForTheFirmware(t *testing.T) {
	key, err := secret.NewHostKey()
	require.NoError(t, err)
	var c secret.Credentials
	c.Add(spec.Secret{Name: "db"}, []byte(canary))
	c.AddHostKey("web", key)
	all, err := c.Bytes()
	require.NoError(t, err)
	require.Len(t, all, 2)
	assert.Equal(t, canary, string(all[0]))
	lines := bytes.Split(bytes.TrimSuffix(all[1], []byte("\n")), []byte("\n"))
	require.Len(t, lines, 3)
	assert.Equal(t, "d /etc/ssh 0755 root root -", string(lines[0]))
	assert.Regexp(t, `^f\+~ /etc/ssh/ssh_host_ed25519_key 0600 root root - [A-Za-z0-9+/=]+$`, string(lines[1]))
	assert.Regexp(t, `^f\+~ /etc/ssh/ssh_host_ed25519_key\.pub 0644 root root - [A-Za-z0-9+/=]+$`, string(lines[2]))

	c = secret.Credentials{}
	c.Add(spec.Secret{Name: "a"}, make([]byte, spec.FirmwareBytes))
	c.Add(spec.Secret{Name: "b"}, []byte("x"))
	_, err = c.Bytes()
	require.ErrorContains(t, err, "larger than 64KiB together")
	assert.Contains(t, fault.HintOf(err), "secrets-by: disk")
}
