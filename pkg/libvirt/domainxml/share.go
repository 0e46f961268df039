package domainxml

import (
	"encoding/base64"
	"strings"

	"libvirt.org/go/libvirtxml"

	"vmctl/pkg/fault"
)

// The ways in which a directory of the host gets into a guest.
const (
	ShareVirtiofs = "virtiofs"
	Share9p       = "9p"
)

// Share is a directory of the host with the way decided in which the guest gets it.
type Share struct {
	// Tag is its name in the guest, Source the directory on the host, and Target where
	// the guest mounts it.
	Tag, Source, Target string
	// Driver is ShareVirtiofs or Share9p.
	Driver   string
	ReadOnly bool
}

// Options are the mount options that the guest needs, beside the file system's type,
// which is the driver's name.
func (s Share) Options() string {
	words := []string{"rw"}
	if s.ReadOnly {
		words[0] = "ro"
	}
	if s.Driver == Share9p {
		// Without msize a guest moves 8 KiB at a time.
		words = append(words, "trans=virtio", "version=9p2000.L", "msize=524288")
	}
	return strings.Join(words, ",")
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
		case ShareVirtiofs:
			fs.AccessMode = "passthrough"
			fs.Driver = &libvirtxml.DomainFilesystemDriver{Type: "virtiofs"}
			backing(d).MemorySource = &libvirtxml.DomainMemorySource{Type: "memfd"}
			backing(d).MemoryAccess = &libvirtxml.DomainMemoryAccess{Mode: "shared"}
		case Share9p:
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
	if len(c.Shares) > 0 {
		oem(d, MountCredential+base64.StdEncoding.EncodeToString([]byte(fstab(c.Shares))))
	}
	return nil
}

// MountCredential begins the SMBIOS string that tells a guest what to mount where:
// systemd since 254 reads it by itself. It says nothing that is secret.
// Source: systemd-fstab-generator(8), fstab.extra.
const MountCredential = "io.systemd.credential.binary:fstab.extra="

// fstab are the lines of fstab(5) that mount the shares; a guest boots also when one
// cannot be mounted.
func fstab(all []Share) string {
	var b strings.Builder
	for _, s := range all {
		b.WriteString(s.Tag + " " + octal(s.Target) + " " + s.Driver + " " + s.Options() + ",nofail 0 0\n")
	}
	return b.String()
}

// octal writes a path as fstab(5) wants it.
func octal(path string) string {
	return strings.NewReplacer(`\`, `\134`, " ", `\040`, "\t", `\011`, "\n", `\012`).Replace(path)
}

// oem adds a string to those that the guest finds in its SMBIOS tables.
func oem(d *libvirtxml.Domain, text string) {
	d.OS.SMBios = &libvirtxml.DomainSMBios{Mode: "sysinfo"}
	if len(d.SysInfo) == 0 {
		d.SysInfo = []libvirtxml.DomainSysInfo{{SMBIOS: &libvirtxml.DomainSysInfoSMBIOS{}}}
	}
	smbios := d.SysInfo[0].SMBIOS
	if smbios.OEMStrings == nil {
		smbios.OEMStrings = &libvirtxml.DomainSysInfoOEMStrings{}
	}
	smbios.OEMStrings.Entry = append(smbios.OEMStrings.Entry, text)
}
