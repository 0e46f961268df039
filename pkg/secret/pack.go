package secret

import (
	"archive/tar"
	"bytes"
	"time"

	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// PackedBytes is the most that all secrets of a machine take together, packed.
const PackedBytes = 4 << 20

// The directories of a pack. The script in the guest knows them.
const (
	dirStore   = "credstore/"
	dirPersist = "persist/"
	dirSSH     = "ssh/"
	// fileComplete says that the pack has all there is: what the guest kept of others, it
	// forgets.
	fileComplete = "complete"
)

// hostKeyFile is sshd's own name for the key.
const hostKeyFile = "ssh_host_ed25519_key"

// Pack collects what a guest gets. It is a tar archive, because that is what every guest
// reads straight from a disk, without a file system in its kernel.
type Pack struct {
	buffer bytes.Buffer
	tar    *tar.Writer
	err    error
}

// NewPack begins a pack; a complete one has all secrets of the machine.
func NewPack(complete bool) *Pack {
	p := &Pack{}
	// In one piece: a buffer that grows leaves copies behind.
	p.buffer.Grow(PackedBytes)
	p.tar = tar.NewWriter(&p.buffer)
	if complete {
		p.file(fileComplete, nil, 0o400)
	}
	return p
}

// Add takes a secret in.
func (p *Pack) Add(s spec.Secret, value []byte) {
	dir := dirStore
	if s.Persist {
		dir = dirPersist
	}
	p.file(dir+s.Name, value, 0o400)
}

// AddHostKey takes the machine's key in.
func (p *Pack) AddHostKey(machine string, key *HostKey) {
	private, err := key.PEM(machine)
	defer Wipe(private)
	if err != nil {
		p.err = err
		return
	}
	p.file(dirSSH+hostKeyFile, private, 0o600)
	p.file(dirSSH+hostKeyFile+".pub", []byte(key.HostKey+" "+machine+"\n"), 0o644)
}

func (p *Pack) file(name string, content []byte, mode int64) {
	const block = 512
	if p.err != nil {
		return
	}
	// A header, the content in whole blocks, and the end of the archive, must still fit.
	if p.buffer.Len()+len(content)+8*block > PackedBytes {
		p.err = fault.New(fault.Invalid, "the secrets are larger than %s together", spec.Size(PackedBytes)).
			WithHint("hand over a key as the secret, and what it opens by other means")
		return
	}
	header := &tar.Header{
		Name: name, Mode: mode, Size: int64(len(content)), Typeflag: tar.TypeReg, Format: tar.FormatUSTAR,
		ModTime: time.Unix(0, 0), Uname: "root", Gname: "root",
	}
	if p.err = p.tar.WriteHeader(header); p.err == nil {
		_, p.err = p.tar.Write(content)
	}
}

// Bytes ends the pack and gives it, which is one; the caller wipes it.
func (p *Pack) Bytes() ([][]byte, error) {
	if p.err == nil {
		p.err = p.tar.Close()
	}
	if p.err != nil {
		p.Wipe()
		return nil, p.err
	}
	return [][]byte{p.buffer.Bytes()}, nil
}

// Wipe forgets what is in it.
func (p *Pack) Wipe() { Wipe(p.buffer.Bytes()) }
