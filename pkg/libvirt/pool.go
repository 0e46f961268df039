package libvirt

import (
	"context"
	"encoding/xml"
	"errors"
	"path"

	"golang.org/x/sync/errgroup"
	golibvirt "libvirt.org/go/libvirt"

	"vmctl/pkg/ansi"
	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// PoolName is the name of vmctl's storage pool.
const PoolName = "vmctl"

// poolXML is what is read from and written to a pool's XML.
type poolXML struct {
	XMLName xml.Name `xml:"pool"`
	Type    string   `xml:"type,attr"`
	Name    string   `xml:"name"`
	// Available is in bytes, whatever the unit that is asked for.
	Available uint64 `xml:"available,omitempty"`
	Target    struct {
		Path string `xml:"path"`
	} `xml:"target"`
}

// Pool looks at vmctl's pool. One of its name that is not a directory, or lies
// elsewhere, is somebody else's.
func (c *conn) Pool(ctx context.Context) (engine.Pool, error) {
	return read(ctx, c, "read storage pool "+PoolName, func(l *golibvirt.Connect) (out engine.Pool, err error) {
		out = engine.Pool{Name: PoolName, Target: c.target, State: engine.PoolAbsent}
		err = c.withPool(l, func(p *golibvirt.StoragePool) error { return c.readPool(p, &out) })
		if !absent(err) {
			return out, err
		}
		if c.target == "" {
			return out, c.noTarget()
		}
		return out, nil
	})
}

func (c *conn) noTarget() error {
	return fault.New(fault.Refused, "%s is a session on another machine, where vmctl cannot know the home directory: it has no storage pool called %s", c.uri, PoolName).
		WithHint("make it once: virsh -c %s pool-define-as %s dir --target DIRECTORY", ansi.ShellWord(c.uri), PoolName)
}

func (c *conn) readPool(p *golibvirt.StoragePool, out *engine.Pool) error {
	var text string
	var names []string
	var parts errgroup.Group
	parts.Go(func() (err error) {
		text, err = p.GetXMLDesc(0)
		return err
	})
	out.State = engine.PoolActive
	parts.Go(func() (err error) {
		if names, err = c.knownVolumes(p, ""); errors.Is(err, golibvirt.ERR_OPERATION_INVALID) {
			// Only the volumes of an active pool can be listed.
			out.State = engine.PoolInactive
			out.Autostart, err = p.GetAutostart()
		}
		return err
	})
	if err := parts.Wait(); err != nil {
		return err
	}
	def, err := c.ownPool(text)
	if err != nil {
		return err
	}
	out.Target = def.Target.Path
	if out.State == engine.PoolActive {
		out.Available, out.Volumes = spec.Size(def.Available), names
	}
	return nil
}

// ownPool reads the pool's XML, and refuses one that vmctl did not make.
func (c *conn) ownPool(text string) (def poolXML, err error) {
	switch def, err = parsePool(text); {
	case err != nil:
	case def.Type != "dir":
		err = c.foreignPool("it is of type " + quoteName(def.Type))
	case c.target != "" && path.Clean(def.Target.Path) != path.Clean(c.target):
		err = c.foreignPool("its directory is " + quoteName(def.Target.Path) + ", not " + c.target)
	}
	return def, err
}

func parsePool(text string) (def poolXML, err error) {
	if err := xml.Unmarshal([]byte(text), &def); err != nil {
		return poolXML{}, fault.New(fault.Other, "the host's pool XML cannot be read: %w", err)
	}
	return def, nil
}

func (c *conn) foreignPool(why string) error {
	return fault.New(fault.Refused, "%s has a storage pool called %s that vmctl did not make: %s", c.uri, PoolName, why).
		WithHint("rename or remove it: virsh -c %s pool-undefine %s", ansi.ShellWord(c.uri), PoolName)
}

// withPool looks vmctl's pool up for the time of f.
func (c *conn) withPool(l *golibvirt.Connect, f func(*golibvirt.StoragePool) error) error {
	return c.pools.with(PoolName, l.LookupStoragePoolByName, f)
}

func (c *conn) onPool(ctx context.Context, verb string, f func(*golibvirt.StoragePool) error) error {
	return change(ctx, c, verb+" storage pool "+PoolName, func(l *golibvirt.Connect) error { return c.withPool(l, f) })
}

// DefinePool defines the directory pool.
func (c *conn) DefinePool(ctx context.Context) error {
	if c.target == "" {
		return c.noTarget()
	}
	def := poolXML{Type: "dir", Name: PoolName}
	def.Target.Path = c.target
	text, err := xml.Marshal(def)
	if err != nil {
		return err
	}
	return change(ctx, c, "define storage pool "+PoolName, func(l *golibvirt.Connect) error {
		p, err := l.StoragePoolDefineXML(string(text), 0)
		if err != nil {
			return err
		}
		defer func() { _ = p.Free() }()
		return c.pools.keep(PoolName, p)
	})
}

// BuildPool makes the directory; one that is there is left as it is.
func (c *conn) BuildPool(ctx context.Context) error {
	return c.onPool(ctx, "make the directory of", func(p *golibvirt.StoragePool) error {
		return p.Build(golibvirt.STORAGE_POOL_BUILD_NEW)
	})
}

// StartPool makes the pool active.
func (c *conn) StartPool(ctx context.Context) error {
	return c.onPool(ctx, "start", func(p *golibvirt.StoragePool) error { return p.Create(0) })
}

// RefreshPool looks at the directory again.
func (c *conn) RefreshPool(ctx context.Context) error {
	return c.onPool(ctx, "refresh", c.refresh)
}

// AutostartPool makes the pool come back when the host boots.
func (c *conn) AutostartPool(ctx context.Context) error {
	return c.onPool(ctx, "set autostart of", func(p *golibvirt.StoragePool) error { return p.SetAutostart(true) })
}
