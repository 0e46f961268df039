package libvirt

import (
	"context"
	"encoding/xml"
	"path"
	"strings"

	golibvirt "libvirt.org/go/libvirt"

	"vmctl/pkg/engine"
)

// secretDef is the XML of a secret to be made. It holds no key: that is set by a call of
// its own.
type secretDef struct {
	XMLName   xml.Name `xml:"secret"`
	Ephemeral string   `xml:"ephemeral,attr"`
	// Private would keep the key from being saved by anybody; see engine.Secrets.
	Private     string `xml:"private,attr"`
	UUID        string `xml:"uuid"`
	Description string `xml:"description"`
	Usage       struct {
		Type   string `xml:"type,attr"`
		Volume string `xml:"volume"`
	} `xml:"usage"`
}

// ListSecrets reads the secrets of volumes.
func (c *conn) ListSecrets(ctx context.Context, prefix string) ([]engine.Secret, error) {
	return read(ctx, c, "list the secrets", func(l *golibvirt.Connect) ([]engine.Secret, error) {
		secrets, err := l.ListAllSecrets(0)
		if err != nil {
			// A driver that knows no secrets has none.
			return nil, ignore(err, golibvirt.ERR_NO_SUPPORT)
		}
		defer func() {
			for i := range secrets {
				_ = secrets[i].Free()
			}
		}()
		var out []engine.Secret
		for i := range secrets {
			usage, err := secrets[i].GetUsageID()
			if err != nil {
				return nil, err
			}
			kind, err := secrets[i].GetUsageType()
			if err != nil {
				return nil, err
			}
			file := path.Base(usage)
			if kind != golibvirt.SECRET_USAGE_TYPE_VOLUME || !strings.HasPrefix(file, prefix) {
				continue
			}
			uuid, err := secrets[i].GetUUIDString()
			if err != nil {
				return nil, err
			}
			out = append(out, engine.Secret{UUID: uuid, Volume: file})
		}
		return out, nil
	})
}

// DefineSecret makes a secret without a value, or defines it anew.
func (c *conn) DefineSecret(ctx context.Context, s engine.Secret) error {
	return change(ctx, c, "define secret "+s.UUID, func(l *golibvirt.Connect) error {
		def := secretDef{Ephemeral: "no", Private: "no", UUID: s.UUID, Description: s.Description}
		def.Usage.Type = "volume"
		err := c.withPool(l, func(p *golibvirt.StoragePool) error {
			text, err := p.GetXMLDesc(0)
			if err != nil {
				return err
			}
			pool, err := c.ownPool(text)
			def.Usage.Volume = path.Join(pool.Target.Path, s.Volume)
			return err
		})
		if err != nil {
			return err
		}
		text, err := xml.Marshal(def)
		if err != nil {
			return err
		}
		made, err := l.SecretDefineXML(string(text), 0)
		if err != nil {
			return err
		}
		return made.Free()
	})
}

func (c *conn) onSecret(ctx context.Context, verb, uuid string, f func(*golibvirt.Secret) error) error {
	return change(ctx, c, verb+" secret "+quoteName(uuid), func(l *golibvirt.Connect) error {
		s, err := l.LookupSecretByUUIDString(uuid)
		if err != nil {
			return err
		}
		defer func() { _ = s.Free() }()
		return f(s)
	})
}

// SetSecret hands the value over.
func (c *conn) SetSecret(ctx context.Context, uuid string, value []byte) error {
	return c.onSecret(ctx, "set", uuid, func(s *golibvirt.Secret) error { return s.SetValue(value, 0) })
}

// SecretValue reads the value; libvirt gives it to read-write connections alone.
func (c *conn) SecretValue(ctx context.Context, uuid string) ([]byte, error) {
	return read(ctx, c, "read secret "+quoteName(uuid), func(l *golibvirt.Connect) ([]byte, error) {
		s, err := l.LookupSecretByUUIDString(uuid)
		if err != nil {
			return nil, err
		}
		defer func() { _ = s.Free() }()
		value, err := s.GetValue(0)
		// A secret that was never set has none.
		return value, ignore(err, golibvirt.ERR_NO_SECRET)
	})
}

// DeleteSecret removes the secret with its value.
func (c *conn) DeleteSecret(ctx context.Context, uuid string) error {
	return c.onSecret(ctx, "delete", uuid, (*golibvirt.Secret).Undefine)
}
