package domainxml

import (
	"encoding/xml"
	"fmt"
	"path"
	"slices"

	"libvirt.org/go/libvirtxml"

	"vmctl/pkg/fault"
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

// Disk is a disk beside the root disk; see engine.Disk.
type Disk struct {
	Serial             string
	Path, Format       string
	Block, ReadOnly    bool
	Cache, IO, Discard string
	Secret             string
}

// devices are how many names a guest has for disks: vda to vdz.
const devices = 26

// FreeDevice is the first name of a disk in the guest that is not taken.
func FreeDevice(taken []string) (string, error) {
	for i := range devices {
		if name := "vd" + string(rune('a'+i)); !slices.Contains(taken, name) {
			return name, nil
		}
	}
	return "", fault.New(fault.Refused, "the machine has %d disks already", devices)
}

// RenderDisk is the element of one disk, as it is attached to a domain.
func RenderDisk(disk Disk, device string) (string, error) {
	out, err := xml.Marshal(extraDisk(disk, device))
	if err != nil {
		return "", fmt.Errorf("disk %s cannot be written as XML: %w", disk.Serial, err)
	}
	return string(out), nil
}

func disks(c Config, d *libvirtxml.Domain) error {
	taken := []string{RootDevice}
	for _, disk := range c.Disks {
		device, err := FreeDevice(taken)
		if err != nil {
			return err
		}
		taken = append(taken, device)
		d.Devices.Disks = append(d.Devices.Disks, extraDisk(disk, device))
	}
	return nil
}

// extraDisk states the format and ends the chain, as rootDisk does.
func extraDisk(disk Disk, device string) libvirtxml.DomainDisk {
	out := libvirtxml.DomainDisk{
		Device: "disk",
		Driver: &libvirtxml.DomainDiskDriver{
			Name: "qemu", Type: disk.Format, Cache: disk.Cache, IO: disk.IO, Discard: disk.Discard,
		},
		Source:       &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: disk.Path}},
		BackingStore: &libvirtxml.DomainDiskBackingStore{},
		Target:       &libvirtxml.DomainDiskTarget{Dev: device, Bus: "virtio"},
		Serial:       disk.Serial,
	}
	if disk.Block {
		out.Source = &libvirtxml.DomainDiskSource{Block: &libvirtxml.DomainDiskSourceBlock{Dev: disk.Path}}
	}
	if disk.ReadOnly {
		out.ReadOnly = &libvirtxml.DomainDiskReadOnly{}
	}
	if disk.Secret != "" {
		out.Source.Encryption = &libvirtxml.DomainDiskEncryption{
			Format:  "luks",
			Secrets: []libvirtxml.DomainDiskSecret{{Type: "passphrase", UUID: disk.Secret}},
		}
	}
	return out
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
