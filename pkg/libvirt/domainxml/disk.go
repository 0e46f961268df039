package domainxml

import "libvirt.org/go/libvirtxml"

// RootDevice is the root disk's name in the guest.
const RootDevice = "vda"

// rootDisk writes the whole chain out, so that libvirt probes no format, follows no
// reference in an image's header, and leaves the owner of the base alone: a file in
// the nix store would otherwise be given to QEMU's user and stay so.
func rootDisk(c Config, d *libvirtxml.Domain) error {
	disk := libvirtxml.DomainDisk{
		Device: "disk",
		Driver: &libvirtxml.DomainDiskDriver{Name: "qemu", Type: "qcow2", Discard: "unmap"},
		Source: &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: c.Root}},
		Target: &libvirtxml.DomainDiskTarget{Dev: RootDevice, Bus: "virtio"},
	}
	end := &libvirtxml.DomainDiskBackingStore{}
	disk.BackingStore = end
	if c.BasePath != "" {
		disk.BackingStore = &libvirtxml.DomainDiskBackingStore{
			Format: &libvirtxml.DomainDiskFormat{Type: c.BaseFormat},
			Source: &libvirtxml.DomainDiskSource{
				File: &libvirtxml.DomainDiskSourceFile{
					File:     c.BasePath,
					SecLabel: []libvirtxml.DomainDeviceSecLabel{{Model: "dac", Relabel: "no"}},
				},
			},
			BackingStore: end,
		}
	}
	d.Devices.Disks = append(d.Devices.Disks, disk)
	return nil
}
