package libvirt

import (
	"context"
	"encoding/xml"
	"strings"

	golibvirt "libvirt.org/go/libvirt"

	"vmctl/pkg/engine"
	"vmctl/pkg/spec"
)

// newVolume is the XML of a volume to be made.
type newVolume struct {
	XMLName  xml.Name `xml:"volume"`
	Name     string   `xml:"name"`
	Capacity bytesXML `xml:"capacity"`
	// Allocation 0 makes it sparse; without it a raw volume is written whole.
	Allocation bytesXML       `xml:"allocation"`
	Format     formatXML      `xml:"target>format"`
	Compat     string         `xml:"target>compat,omitempty"`
	Encryption *encryptionXML `xml:"target>encryption"`
	Backing    *backingXML    `xml:"backingStore"`
}

type encryptionXML struct {
	Format string `xml:"format,attr"`
	Secret struct {
		Type string `xml:"type,attr"`
		UUID string `xml:"uuid,attr"`
	} `xml:"secret"`
}

type bytesXML struct {
	Unit  string `xml:"unit,attr"`
	Value uint64 `xml:",chardata"`
}

type formatXML struct {
	Type string `xml:"type,attr"`
}

type backingXML struct {
	Path   string    `xml:"path"`
	Format formatXML `xml:"format"`
}

// CreateOverlay makes a qcow2 volume on a base whose format is stated, so that
// nothing is ever probed. A size of 0 is the base's own.
func (c *conn) CreateOverlay(ctx context.Context, name string, size spec.Size, base engine.Base) error {
	if size == 0 {
		size = base.Size
	}
	v := emptyVolume(name, "qcow2", size)
	v.Backing = &backingXML{Path: base.Path, Format: formatXML{base.Format}}
	return c.createVolume(ctx, v)
}

// CreateVolume makes an empty volume.
func (c *conn) CreateVolume(ctx context.Context, name, format string, size spec.Size) error {
	return c.createVolume(ctx, emptyVolume(name, format, size))
}

// luksTries is how often a LUKS volume is tried: see luksClock.
const luksTries = 20

// luksClock reports whether QEMU could not tell how fast the host derives keys. It times
// a few milliseconds of work by the CPU time that the kernel accounts to it, and gives up
// when that is none (QEMU's crypto/pbkdf.c): on a host that accounts by ticks, a fast CPU
// is done between two of them once in a few times, by chance.
func luksClock(err error) bool {
	return err != nil && strings.Contains(err.Error(), "Unable to get accurate CPU usage")
}

// CreateEncrypted makes an empty volume in a LUKS container.
func (c *conn) CreateEncrypted(ctx context.Context, name, format string, size spec.Size, secret string) error {
	v := emptyVolume(name, format, size)
	v.Encryption = &encryptionXML{Format: "luks"}
	v.Encryption.Secret.Type, v.Encryption.Secret.UUID = "passphrase", secret
	return c.createVolume(ctx, v)
}

func emptyVolume(name, format string, size spec.Size) newVolume {
	v := newVolume{
		Name:       name,
		Capacity:   bytesXML{"bytes", uint64(size)},
		Allocation: bytesXML{"bytes", 0},
		Format:     formatXML{format},
	}
	if format == "qcow2" {
		// libvirt's own default is QEMU 0.10's header.
		v.Compat = "1.1"
	}
	return v
}

func (c *conn) createVolume(ctx context.Context, v newVolume) error {
	text, err := xml.Marshal(v)
	if err != nil {
		return err
	}
	return change(ctx, c, "create volume "+quoteName(v.Name), func(l *golibvirt.Connect) error {
		return c.withPool(l, func(p *golibvirt.StoragePool) error {
			made, err := p.StorageVolCreateXML(string(text), 0)
			for try := 1; try < luksTries && luksClock(err); try++ {
				made, err = p.StorageVolCreateXML(string(text), 0)
			}
			if err != nil {
				return err
			}
			defer func() { _ = made.Free() }()
			return c.volumes.keep(v.Name, made)
		})
	})
}
