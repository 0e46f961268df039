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
	return nil
}
