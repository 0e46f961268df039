package secret

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha512"
	"encoding/pem"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"filippo.io/age/plugin"
	"golang.org/x/crypto/ssh"

	"vmctl/pkg/fault"
)

// Public is the public half of a machine's key.
type Public struct {
	// HostKey is the ssh host key as known_hosts has it behind the host's name.
	HostKey string `json:"ssh"`
	// Recipient is the age recipient that follows from it, as ssh-to-age makes it.
	Recipient string `json:"age"`
	// Fingerprint is what ssh shows of the host key.
	Fingerprint string `json:"fingerprint"`
}

// HostKey is a machine's ssh host key. The machine's age identity follows from it, so
// that sops-nix, which derives it in the same way, and agenix, which takes the ssh key
// itself, need nothing else.
type HostKey struct {
	Public
	private ed25519.PrivateKey
}

// NewHostKey makes a key.
func NewHostKey() (*HostKey, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return hostKey(private)
}

func hostKey(private ed25519.PrivateKey) (*HostKey, error) {
	public, err := ssh.NewPublicKey(private.Public())
	if err != nil {
		return nil, err
	}
	scalar := scalarOf(private)
	defer Wipe(scalar)
	curve, err := ecdh.X25519().NewPrivateKey(scalar)
	if err != nil {
		return nil, err
	}
	recipient, err := plugin.EncodeX25519Recipient(curve.PublicKey())
	if err != nil {
		return nil, err
	}
	return &HostKey{private: private, Public: Public{
		HostKey:     strings.TrimSpace(string(ssh.MarshalAuthorizedKey(public))),
		Recipient:   recipient,
		Fingerprint: ssh.FingerprintSHA256(public),
	}}, nil
}

// scalarOf is the X25519 key that an ed25519 key stands for (RFC 8032, 5.1.5; X25519
// clamps by itself).
func scalarOf(private ed25519.PrivateKey) []byte {
	digest := sha512.Sum512(private.Seed())
	return digest[:32]
}

// PEM is the private key as sshd reads it; the caller wipes it.
func (k *HostKey) PEM(comment string) ([]byte, error) {
	block, err := ssh.MarshalPrivateKey(k.private, comment)
	if err != nil {
		return nil, err
	}
	defer Wipe(block.Bytes)
	return pem.EncodeToMemory(block), nil
}

// Wipe forgets the private half.
func (k *HostKey) Wipe() { Wipe(k.private) }

// parseHostKey reads what PEM wrote.
func parseHostKey(text []byte) (*HostKey, error) {
	parsed, err := ssh.ParseRawPrivateKey(text)
	private, ok := parsed.(*ed25519.PrivateKey)
	if err != nil || !ok {
		return nil, fault.New(fault.Invalid, "it does not hold an ed25519 key")
	}
	return hostKey(*private)
}

// Identities open what was encrypted to the machine, in either form.
func (k *HostKey) Identities() ([]age.Identity, error) {
	scalar := scalarOf(k.private)
	defer Wipe(scalar)
	own, err := age.ParseX25519Identity(bech32("age-secret-key-", scalar))
	if err != nil {
		return nil, err
	}
	inSSH, err := agessh.NewEd25519Identity(k.private)
	return []age.Identity{own, inSSH}, err
}
