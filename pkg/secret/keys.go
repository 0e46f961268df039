package secret

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"filippo.io/age"

	"vmctl/pkg/fault"
)

// Keys keeps the machines' keys on the client, each encrypted with age to the operator's
// identity. That protects a copy of the directory, as in a backup, that the identity is
// not in; whoever can read the operator's files can read both, unless a passphrase locks
// the identity.
type Keys struct {
	// Dir is where they are kept.
	Dir string
	// Getenv gives variables of vmctl's environment.
	Getenv func(string) string
	// Ask is asked for passphrases of identities that have one.
	Ask Ask
	// Ring remembers what was unlocked; nil forgets it.
	Ring *Ring
	// Work is the factor of scrypt for a new passphrase; 0 is age's own.
	Work int
}

// file is where a machine's key is kept. Machines of different projects may have one name
// and are different machines.
func (k Keys) file(project, machine string) string {
	sum := sha256.Sum256([]byte(project))
	return filepath.Join(k.Dir, machine+"-"+hex.EncodeToString(sum[:4])+".age")
}

func publicFile(file string) string { return file[:len(file)-len(".age")] + ".pub.json" }

// File is where a machine's key is, or would be.
func (k Keys) File(project, machine string) string { return k.file(project, machine) }

// Public is the public half of a machine's key; NotFound when it has none.
func (k Keys) Public(project, machine string) (*Public, error) {
	file := k.file(project, machine)
	content, err := os.ReadFile(publicFile(file))
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(file); err != nil {
			return nil, fault.New(fault.NotFound, "%s has no key yet", machine).WithHint("write identity: true in its definition; vmctl key %s makes it", machine)
		}
		key, err := k.Load(project, machine)
		if err != nil {
			return nil, err
		}
		defer key.Wipe()
		return &key.Public, nil
	}
	var public Public
	if err == nil {
		err = json.Unmarshal(content, &public)
	}
	if err != nil {
		return nil, fault.New(fault.Other, "the public key of %s cannot be read: %w", machine, err).WithHint("remove %s; it is made again from the private one", publicFile(file))
	}
	return &public, nil
}

// Load opens a machine's key; NotFound when it has none. The caller wipes it.
func (k Keys) Load(project, machine string) (*HostKey, error) {
	file := k.file(project, machine)
	encrypted, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.NotFound, "%s has no key yet", machine).WithHint("vmctl key %s makes it", machine)
	}
	if err != nil {
		return nil, unreadable(file, err)
	}
	identities, err := k.Operator()
	if err != nil {
		return nil, err
	}
	plain, err := open(encrypted, identities)
	defer Wipe(plain)
	if locked := said(err); locked != nil {
		return nil, locked
	}
	var key *HostKey
	if err == nil {
		key, err = parseHostKey(plain)
	}
	if err != nil {
		return nil, fault.New(fault.Refused, "the key of %s cannot be opened: %s: %w", machine, file, err).
			WithHint("it was encrypted to another identity: name its file in %s; or make a new key: vmctl key --rotate %s", identityVariable, machine)
	}
	return key, nil
}

// Of opens what is encrypted to a machine; nothing when it has no key yet.
func (k Keys) Of(project, machine string) Identities {
	return func() ([]age.Identity, error) {
		own, err := k.Load(project, machine)
		if fault.Is(err, fault.NotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		return own.Identities()
	}
}

// Make gives the machine's key and makes it if there is none. The caller wipes it.
func (k Keys) Make(project, machine string) (*HostKey, error) {
	key, err := k.Load(project, machine)
	if !fault.Is(err, fault.NotFound) {
		return key, err
	}
	if err := k.write(project, machine, create); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	// Whoever made it.
	return k.Load(project, machine)
}

// Rotate makes the machine a new key.
func (k Keys) Rotate(project, machine string) (*HostKey, error) {
	if err := k.write(project, machine, replace); err != nil {
		return nil, err
	}
	return k.Load(project, machine)
}

func (k Keys) write(project, machine string, put func(file string, content []byte) error) error {
	key, err := NewHostKey()
	if err != nil {
		return err
	}
	defer key.Wipe()
	text, err := key.PEM(machine)
	defer Wipe(text)
	if err != nil {
		return err
	}
	identities, err := k.Operator()
	if err != nil {
		return err
	}
	encrypted, err := seal(text, identities)
	if err != nil {
		return err
	}
	public, err := json.Marshal(key.Public)
	if err != nil {
		return err
	}
	file := k.file(project, machine)
	if err := put(file, encrypted); err != nil {
		return err
	}
	return replace(publicFile(file), append(public, '\n'))
}

// seal encrypts to all identities that can be encrypted to.
func seal(plain []byte, identities []age.Identity) ([]byte, error) {
	recipients, err := recipientsOf(identities)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	w, err := age.Encrypt(&out, recipients...)
	if err == nil {
		_, err = w.Write(plain)
	}
	if err == nil {
		err = w.Close()
	}
	return out.Bytes(), err
}

func open(encrypted []byte, identities []age.Identity) ([]byte, error) {
	r, err := age.Decrypt(bytes.NewReader(encrypted), identities...)
	if err != nil {
		return nil, err
	}
	out := make([]byte, len(encrypted))
	n, err := io.ReadFull(r, out)
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		err = nil
	}
	return out[:n], err
}
