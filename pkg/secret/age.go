package secret

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"filippo.io/age/armor"
	"golang.org/x/crypto/ssh"

	"vmctl/pkg/fault"
)

// Identities gives age identities when they are needed.
type Identities func() ([]age.Identity, error)

// maxIdentities bounds what is read as a file of identities.
const maxIdentities = 1 << 20

// decrypt opens what age encrypted, armoured or not.
func (r Reader) decrypt(encrypted []byte, name string) ([]byte, error) {
	identities, where, err := r.identities()
	if err != nil {
		return nil, err
	}
	if len(identities) == 0 {
		return nil, fault.New(fault.NotFound, "there is no age identity to decrypt %s with", name).
			WithHint("put one into %s, or name its file in SOPS_AGE_KEY_FILE", where)
	}
	var source io.Reader = bytes.NewReader(encrypted)
	if bytes.HasPrefix(bytes.TrimLeft(encrypted, " \t\r\n"), []byte(armor.Header)) {
		source = armor.NewReader(bytes.NewReader(bytes.TrimLeft(encrypted, " \t\r\n")))
	}
	plain, err := age.Decrypt(source, identities...)
	if locked := said(err); locked != nil {
		return nil, locked
	}
	var none *age.NoIdentityMatchError
	switch {
	case errors.As(err, &none):
		return nil, fault.New(fault.Refused, "%s is encrypted to none of your age identities", name).
			WithHint("put the identity into %s, name its file in SOPS_AGE_KEY_FILE, or encrypt it to vmctl's own: vmctl key --operator", where)
	case err != nil:
		return nil, fault.New(fault.Invalid, "%s is not what age encrypts: %w", name, err)
	}
	out := make([]byte, len(encrypted)) // the plain text is shorter
	n, err := io.ReadFull(plain, out)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		Wipe(out)
		return nil, fault.New(fault.Invalid, "%s is damaged: %w", name, err)
	}
	return out[:n], nil
}

// identities are all that may open a file: the person's, where sops looks for them, and
// vmctl's. where is the file that a person's are kept in.
func (r Reader) identities() (all []age.Identity, where string, err error) {
	where, explicit := r.Getenv("SOPS_AGE_KEY_FILE"), true
	if where == "" {
		config := r.Getenv("XDG_CONFIG_HOME")
		if !filepath.IsAbs(config) {
			config = filepath.Join(r.Getenv("HOME"), ".config")
		}
		where, explicit = filepath.Join(config, "sops", "age", "keys.txt"), false
	}
	if text := r.Getenv("SOPS_AGE_KEY"); text != "" {
		parsed, err := age.ParseIdentities(strings.NewReader(text))
		if err != nil {
			// The library's words could quote the key.
			return nil, where, fault.New(fault.Invalid, "SOPS_AGE_KEY does not hold age identities")
		}
		all = append(all, parsed...)
	}
	parsed, err := IdentityFile(where, r.Ask, &Ring{})
	if err != nil && (explicit || !errors.Is(err, fs.ErrNotExist)) {
		return nil, where, err
	}
	all = append(all, parsed...)
	for _, more := range r.Keys {
		parsed, err := more()
		if err != nil {
			return nil, where, err
		}
		all = append(all, parsed...)
	}
	return all, where, nil
}

// IdentityFile reads a file of age identities, or with one ssh private key. A passphrase
// that locks it is asked for when it is needed.
func IdentityFile(path string, ask Ask, ring *Ring) ([]age.Identity, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	defer func() { _ = file.Close() }()
	content, err := io.ReadAll(io.LimitReader(file, maxIdentities))
	if err != nil {
		return nil, unreadable(path, err)
	}
	if isLocked(content) {
		return []age.Identity{&locked{path, content, ask, ring}}, nil
	}
	if bytes.Contains(content, []byte("PRIVATE KEY-----")) {
		return sshIdentity(path, content, ask)
	}
	defer Wipe(content)
	identities, err := age.ParseIdentities(bytes.NewReader(content))
	if err != nil {
		return nil, noIdentities(path)
	}
	return identities, nil
}

func noIdentities(path string) error {
	return fault.New(fault.Invalid, "%s does not hold age identities", path).WithHint("age-keygen makes one")
}

func sshIdentity(path string, content []byte, ask Ask) ([]age.Identity, error) {
	identity, err := agessh.ParseIdentity(content)
	if missing, ok := errors.AsType[*ssh.PassphraseMissingError](err); ok && missing.PublicKey != nil {
		identity, err = agessh.NewEncryptedSSHIdentity(missing.PublicKey, content, func() ([]byte, error) { return ask(path) })
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, "%s is no ssh key that can be used: it is damaged, or neither ed25519 nor RSA", path).
			WithHint("make an age identity for vmctl: age-keygen -o FILE")
	}
	return []age.Identity{identity}, nil
}
