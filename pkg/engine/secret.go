package engine

import (
	"context"
	"crypto/rand"
)

// Secret is a libvirt secret that holds the key of one encrypted volume.
type Secret struct {
	UUID string
	// Volume is the name of the volume's file.
	Volume, Description string
}

// Secrets keeps the keys of encrypted volumes on the host. They are persistent, so that
// machines start with the host, and readable by whoever may use the connection: those
// can attach the volume to a guest of their own anyway, and a key that nobody can save is
// a volume that is lost with the host's /etc.
type Secrets interface {
	// ListSecrets gives those of volumes whose name begins with the prefix.
	ListSecrets(ctx context.Context, prefix string) ([]Secret, error)
	DefineSecret(ctx context.Context, s Secret) error
	// SetSecret gives a secret its value. It never stands in XML.
	SetSecret(ctx context.Context, uuid string, value []byte) error
	// SecretValue reads a secret's value.
	SecretValue(ctx context.Context, uuid string) ([]byte, error)
	DeleteSecret(ctx context.Context, uuid string) error
}

// DiskUser is a domain that has a disk.
type DiskUser struct {
	Domain, Path string
	// Running says that the guest has it now.
	Running bool
}

// newKey is a passphrase with 128 bits or more of chance, of letters and digits: people may have to
// copy it.
func newKey() []byte { return []byte(rand.Text()) }
