package secret

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"

	"vmctl/pkg/fault"
)

// identityVariable names a file with the age identity, or ssh key, that the machines'
// keys are encrypted to, in place of the one that vmctl makes.
const identityVariable = "VMCTL_AGE_IDENTITY"

func (k Keys) operatorFile() string { return filepath.Join(k.Dir, "operator.txt") }

// Operator are the operator's identities; they are made the first time.
func (k Keys) Operator() ([]age.Identity, error) {
	if file := k.Getenv(identityVariable); file != "" {
		return k.identityFile(file)
	}
	identities, err := k.identityFile(k.operatorFile())
	if !errors.Is(err, fs.ErrNotExist) {
		return identities, err
	}
	fresh, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, err
	}
	text := []byte("# vmctl's own age identity: the machines' keys beside it are encrypted to it.\n# public key: " +
		fresh.Recipient().String() + "\n" + fresh.String() + "\n")
	defer Wipe(text)
	if err := create(k.operatorFile(), text); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return k.identityFile(k.operatorFile())
}

// identityFile is IdentityFile with what Keys knows of passphrases.
func (k Keys) identityFile(file string) ([]age.Identity, error) {
	ring := k.Ring
	if ring == nil {
		ring = &Ring{}
	}
	return IdentityFile(file, k.Ask, ring)
}

// OperatorRecipient is what others encrypt to so that vmctl can read it; empty for an ssh
// key.
func (k Keys) OperatorRecipient() (string, error) {
	identities, err := k.Operator()
	if err != nil {
		return "", err
	}
	recipients, err := recipientsOf(identities)
	for _, r := range recipients {
		if own, ok := r.(*age.X25519Recipient); ok {
			return own.String(), nil
		}
	}
	return "", err
}

// Locked says whether a passphrase locks vmctl's own identity.
func (k Keys) Locked() (bool, error) {
	_, was, err := k.own()
	return was != nil, err
}

// SetPassphrase locks vmctl's own identity with a passphrase, in place of the one that
// locks it, which is asked for. What lay on the disk before is not overwritten.
func (k Keys) SetPassphrase(passphrase []byte) error {
	plain, was, err := k.own()
	if err == nil && was != nil {
		plain, err = was.plain()
	}
	defer Wipe(plain)
	if err != nil {
		return err
	}
	encrypted, err := lock(plain, passphrase, k.Work)
	if err != nil {
		return err
	}
	recipient, err := k.OperatorRecipient()
	if err != nil {
		return err
	}
	if err := replace(recipientFile(k.operatorFile()), []byte(recipient+"\n")); err != nil {
		return err
	}
	return replace(k.operatorFile(), encrypted)
}

// RemovePassphrase keeps vmctl's own identity without a passphrase; false when it had none.
func (k Keys) RemovePassphrase() (bool, error) {
	_, was, err := k.own()
	if err != nil || was == nil {
		return false, err
	}
	plain, err := was.plain()
	defer Wipe(plain)
	if err != nil {
		return false, err
	}
	return true, replace(k.operatorFile(), plain)
}

// own is vmctl's own identity: as text, or locked.
func (k Keys) own() (plain []byte, was *locked, err error) {
	if file := k.Getenv(identityVariable); file != "" {
		return nil, nil, fault.New(fault.Refused, "%s names %s, whose passphrase is not vmctl's to change", identityVariable, file).
			WithHint("age -p -o FILE locks a file with an age identity, ssh-keygen -p -f FILE an ssh key")
	}
	identities, err := k.Operator()
	if err != nil {
		return nil, nil, err
	}
	if len(identities) == 1 {
		if l, ok := identities[0].(*locked); ok {
			return nil, l, nil
		}
	}
	plain, err = os.ReadFile(k.operatorFile())
	if err != nil {
		err = unreadable(k.operatorFile(), err)
	}
	return plain, nil, err
}

// recipientsOf are what can be encrypted to.
func recipientsOf(identities []age.Identity) ([]age.Recipient, error) {
	var all []age.Recipient
	for _, identity := range identities {
		switch own := identity.(type) {
		case *locked:
			more, err := own.recipients()
			if err != nil {
				return nil, err
			}
			all = append(all, more...)
		case *age.X25519Identity:
			all = append(all, own.Recipient())
		case *age.HybridIdentity:
			all = append(all, own.Recipient())
		case *agessh.Ed25519Identity:
			all = append(all, own.Recipient())
		case *agessh.RSAIdentity:
			all = append(all, own.Recipient())
		case *agessh.EncryptedSSHIdentity:
			all = append(all, own.Recipient())
		}
	}
	if len(all) == 0 {
		return nil, fault.New(fault.Invalid, "the operator's identity is none that can be encrypted to").WithHint("make one: age-keygen -o FILE, and name it in %s", identityVariable)
	}
	return all, nil
}

// ReadPassphrase reads a passphrase from a file: its first line.
func ReadPassphrase(file string) ([]byte, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, unreadable(file, err)
	}
	line, _, _ := strings.Cut(string(content), "\n")
	Wipe(content)
	if line = strings.TrimSuffix(line, "\r"); line == "" {
		return nil, fault.New(fault.Invalid, "the first line of %s, which is to be a passphrase, is empty", file)
	}
	return []byte(line), nil
}
