package secret

import (
	"encoding/base64"
	"fmt"

	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// Credentials collects what systemd in a guest takes by itself, each one apart.
type Credentials struct {
	all  [][]byte
	size int
	err  error
}

// Add takes a secret in.
func (c *Credentials) Add(_ spec.Secret, value []byte) {
	c.size += len(value)
	if c.err == nil && c.size > spec.FirmwareBytes {
		c.err = fault.New(fault.Invalid, "the secrets are larger than %s together, the most that fw_cfg carries", spec.Size(spec.FirmwareBytes)).
			WithHint("write secrets-by: disk, or hand over a key as the secret, and what it opens by other means")
	}
	if c.err == nil {
		c.all = append(c.all, append([]byte(nil), value...))
	}
}

// AddHostKey takes the machine's key in, as lines that make systemd-tmpfiles write it.
// Source: tmpfiles.d(5), f+ and ~.
func (c *Credentials) AddHostKey(machine string, key *HostKey) {
	private, err := key.PEM(machine)
	defer Wipe(private)
	if err != nil {
		c.err = err
		return
	}
	public := []byte(key.HostKey + " " + machine + "\n")
	lines := make([]byte, 0, 2*(len(private)+len(public))+512)
	lines = append(lines, "d /etc/ssh 0755 root root -\n"...)
	for _, f := range []struct {
		name, mode string
		content    []byte
	}{{hostKeyFile, "0600", private}, {hostKeyFile + ".pub", "0644", public}} {
		lines = fmt.Appendf(lines, "f+~ /etc/ssh/%s %s root root - ", f.name, f.mode)
		lines = append(base64.StdEncoding.AppendEncode(lines, f.content), '\n')
	}
	c.Add(spec.Secret{}, lines)
	Wipe(lines)
}

// Bytes gives all of them, in the order in which they came; the caller wipes them.
func (c *Credentials) Bytes() ([][]byte, error) {
	if c.err != nil {
		c.Wipe()
		return nil, c.err
	}
	return c.all, nil
}

// Wipe forgets what was collected.
func (c *Credentials) Wipe() {
	for _, value := range c.all {
		Wipe(value)
	}
}
