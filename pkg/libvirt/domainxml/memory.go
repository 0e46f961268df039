package domainxml

import (
	"libvirt.org/go/libvirtxml"

	"vmctl/pkg/spec"
)

// memory is written in KiB, libvirt's own unit, rounded up.
func memory(c Config, d *libvirtxml.Domain) error {
	kib := uint((c.Machine.Memory + spec.KiB - 1) / spec.KiB)
	d.Memory = &libvirtxml.DomainMemory{Value: kib, Unit: "KiB"}
	d.CurrentMemory = &libvirtxml.DomainCurrentMemory{Value: kib, Unit: "KiB"}
	if page := c.Machine.Hugepages; page > 0 {
		backing(d).MemoryHugePages = &libvirtxml.DomainMemoryHugepages{
			Hugepages: []libvirtxml.DomainMemoryHugepage{{Size: uint(page / spec.KiB), Unit: "KiB"}},
		}
	}
	return nil
}

// backing is what the guest's memory consists of.
func backing(d *libvirtxml.Domain) *libvirtxml.DomainMemoryBacking {
	if d.MemoryBacking == nil {
		d.MemoryBacking = &libvirtxml.DomainMemoryBacking{}
	}
	return d.MemoryBacking
}
