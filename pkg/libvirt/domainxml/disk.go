package domainxml

import (
	"path"

	"libvirt.org/go/libvirtxml"
)

// RootDevice is the root disk's name in the guest.
const RootDevice = "vda"

// rootDisk writes the whole chain out, so that libvirt probes no format and follows
// no reference in an image's header.
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
			Format:       &libvirtxml.DomainDiskFormat{Type: c.BaseFormat},
			Source:       &libvirtxml.DomainDiskSource{File: base(c)},
			BackingStore: end,
		}
	}
	d.Devices.Disks = append(d.Devices.Disks, disk)
	return nil
}

// base is the image's file. A system daemon gives files to QEMU's user before it
// starts a guest, and does not take them back from below a root disk. That is right
// for an image in the pool, beside the root disk: it was uploaded and is readable for
// root alone. One elsewhere, as in the nix store, keeps its owner.
func base(c Config) *libvirtxml.DomainDiskSourceFile {
	file := &libvirtxml.DomainDiskSourceFile{File: c.BasePath}
	if path.Dir(c.BasePath) != path.Dir(c.Root) {
		file.SecLabel = []libvirtxml.DomainDeviceSecLabel{{Model: "dac", Relabel: "no"}}
	}
	return file
}
