package domainxml

import (
	"libvirt.org/go/libvirtxml"

	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// Share is a directory of the host with the way decided in which the guest gets it.
type Share struct {
	spec.Share
	Driver spec.ShareDriver
}

// shares give the guest directories of the host. virtiofs serves them by a process
// beside QEMU, which must see the guest's memory. With 9p it is QEMU that opens the
// files: whose they are for the guest is kept beside them (accessmode mapped), because
// QEMU may not give files to others.
func shares(c Config, d *libvirtxml.Domain) error {
	for _, s := range c.Shares {
		fs := libvirtxml.DomainFilesystem{
			Source: &libvirtxml.DomainFilesystemSource{Mount: &libvirtxml.DomainFilesystemSourceMount{Dir: s.Source}},
			Target: &libvirtxml.DomainFilesystemTarget{Dir: s.Tag},
		}
		switch s.Driver {
		case spec.ShareVirtiofs:
			fs.AccessMode = "passthrough"
			fs.Driver = &libvirtxml.DomainFilesystemDriver{Type: "virtiofs"}
			backing(d).MemorySource = &libvirtxml.DomainMemorySource{Type: "memfd"}
			backing(d).MemoryAccess = &libvirtxml.DomainMemoryAccess{Mode: "shared"}
		case spec.Share9p:
			fs.AccessMode, fs.FMode, fs.DMode = "mapped", "644", "755"
			fs.Driver = &libvirtxml.DomainFilesystemDriver{Type: "path"}
		default:
			return fault.New(fault.Invalid, "machine %s: how share %s gets into the guest is undecided (%q)", c.Machine.Name, s.Tag, s.Driver)
		}
		if s.ReadOnly {
			fs.ReadOnly = &libvirtxml.DomainFilesystemReadOnly{}
		}
		d.Devices.Filesystems = append(d.Devices.Filesystems, fs)
	}
	return nil
}
