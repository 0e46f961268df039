package domainxml

import "libvirt.org/go/libvirtxml"

// balloon lets the memory of a running guest be changed.
func balloon(_ Config, d *libvirtxml.Domain) error {
	d.Devices.MemBalloon = &libvirtxml.DomainMemBalloon{Model: "virtio"}
	return nil
}
