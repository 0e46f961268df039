package libvirt

import (
	"context"

	golibvirt "libvirt.org/go/libvirt"

	"vmctl/pkg/engine"
	"vmctl/pkg/spec"
)

// SetLiveMemory moves the balloon, then notes the size in the metadata of the running
// domain: the guest is slow to give memory back and may never do so, so that what was
// asked for can be told from what is.
func (c *conn) SetLiveMemory(ctx context.Context, name string, size spec.Size) error {
	return c.onDomain(ctx, "set the memory of", name, func(d *golibvirt.Domain) error {
		kib := uint64((size + spec.KiB - 1) / spec.KiB)
		if err := d.SetMemoryFlags(kib, golibvirt.DOMAIN_MEM_LIVE); err != nil {
			return err
		}
		return noteLive(d, func(r *engine.Record) { r.Memory = size })
	})
}

// NoteReady notes that the guest is ready.
func (c *conn) NoteReady(ctx context.Context, name string) error {
	return c.onDomain(ctx, "note that the guest is ready in", name, func(d *golibvirt.Domain) error {
		return noteLive(d, func(r *engine.Record) { r.Ready = true })
	})
}

// NoteApplied notes to which systems the guest was brought.
func (c *conn) NoteApplied(ctx context.Context, name string, all []engine.Applied) error {
	return c.onDomain(ctx, "note the system of", name, func(d *golibvirt.Domain) error {
		change := func(r *engine.Record) { r.Applied = all }
		persistent, err := d.IsPersistent()
		if err == nil && persistent {
			err = note(d, golibvirt.DOMAIN_XML_INACTIVE, golibvirt.DOMAIN_AFFECT_CONFIG, change)
		}
		if err != nil {
			return err
		}
		if active, err := d.IsActive(); err != nil || !active {
			return err
		}
		return noteLive(d, change)
	})
}

// noteLive changes the metadata of what runs; the definition stays as it is.
func noteLive(d *golibvirt.Domain, change func(*engine.Record)) error {
	return note(d, 0, golibvirt.DOMAIN_AFFECT_LIVE, change)
}

// note changes the metadata that one of a domain's two definitions has.
func note(d *golibvirt.Domain, of golibvirt.DomainXMLFlags, affects golibvirt.DomainModificationImpact, change func(*engine.Record)) error {
	parsed, err := readXML(d, of)
	if err != nil {
		return err
	}
	record := parsed.record()
	if record == nil {
		return nil
	}
	change(record)
	element, err := liveMetadata(*record)
	if err != nil {
		return err
	}
	return d.SetMetadata(golibvirt.DOMAIN_METADATA_ELEMENT, element, metadataPrefix, metadataURI, affects)
}

// SetLiveCPUs brings CPUs online or takes them off.
func (c *conn) SetLiveCPUs(ctx context.Context, name string, n int) error {
	return c.onDomain(ctx, "set the CPUs of", name, func(d *golibvirt.Domain) error {
		return d.SetVcpusFlags(uint(n), golibvirt.DOMAIN_VCPU_LIVE)
	})
}

// ResizeLiveDisk grows a disk of a running guest.
func (c *conn) ResizeLiveDisk(ctx context.Context, name, path string, size spec.Size) error {
	return c.onDomain(ctx, "grow the disk of", name, func(d *golibvirt.Domain) error {
		return d.BlockResize(path, uint64(size), golibvirt.DOMAIN_BLOCK_RESIZE_BYTES)
	})
}
