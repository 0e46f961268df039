package secret

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"path"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/spec"
)

// FuzzParseHostKey opens what a damaged or a foreign directory of keys could hold.
func FuzzParseHostKey(f *testing.F) {
	key, err := NewHostKey()
	require.NoError(f, err)
	text, err := key.PEM("example")
	require.NoError(f, err)
	f.Add(text)
	f.Add([]byte("-----BEGIN OPENSSH PRIVATE KEY-----\n\n-----END OPENSSH PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		key, err := parseHostKey(text)
		if err != nil {
			assert.NotContains(t, err.Error(), "PRIVATE KEY")
			return
		}
		again, err := key.PEM("example")
		require.NoError(t, err)
		back, err := parseHostKey(again)
		require.NoError(t, err)
		assert.Equal(t, key.Public, back.Public)
	})
}

// FuzzPack: a guest's tar finds in a pack what was put in, under the names that were
// meant, whatever the secrets are.
func FuzzPack(f *testing.F) {
	f.Add("db.password", []byte("x"), false)
	f.Add("a", []byte("ustar\x00"), true)
	f.Add("token", bytes.Repeat([]byte{0}, 1024), false)
	f.Fuzz(func(t *testing.T, name string, value []byte, persist bool) {
		if spec.CheckSecretName(name) != nil {
			return
		}
		p := NewPack(true)
		p.Add(spec.Secret{Name: name, Persist: persist}, value)
		packed, err := p.Bytes()
		require.NoError(t, err)
		in := tar.NewReader(bytes.NewReader(packed[0]))
		var names []string
		for {
			header, err := in.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
			assert.Equal(t, int64(0o400), header.Mode)
			assert.Equal(t, path.Clean(header.Name), header.Name)
			names = append(names, header.Name)
			if header.Name != fileComplete {
				got, err := io.ReadAll(in)
				require.NoError(t, err)
				assert.True(t, bytes.Equal(value, got))
			}
		}
		want := map[bool]string{false: dirStore + name, true: dirPersist + name}[persist]
		assert.Equal(t, []string{fileComplete, want}, names)
	})
}
