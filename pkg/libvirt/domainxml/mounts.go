package domainxml

import (
	"encoding/base64"
	"strings"

	"libvirt.org/go/libvirtxml"

	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// MountCredential begins the SMBIOS string that tells a guest what to mount where:
// systemd since 254 reads it by itself. It says nothing that is secret.
// Source: systemd-fstab-generator(8), fstab.extra.
const MountCredential = credential + "fstab.extra="

// mounts tells the guest what to mount. There is one such string, whatever the lines
// are for.
func mounts(c Config, d *libvirtxml.Domain) error {
	if len(c.Mounts) > 0 {
		lines := strings.Join(c.Mounts, "\n") + "\n"
		oem(d, MountCredential+base64.StdEncoding.EncodeToString([]byte(lines)))
	}
	return nil
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

// smbiosBytes is the most that all strings take together: with older machine types the
// firmware's tables end at 64 KiB, and QEMU does not start with more.
const smbiosBytes = 48 << 10

func smbiosFits(c Config, d *libvirtxml.Domain) error {
	size := 0
	for _, info := range d.SysInfo {
		if info.SMBIOS != nil && info.SMBIOS.OEMStrings != nil {
			for _, entry := range info.SMBIOS.OEMStrings.Entry {
				size += len(entry)
			}
		}
	}
	if size > smbiosBytes {
		return fault.New(fault.Invalid, "what the guest of %s is told by SMBIOS takes %s, and %s are the most", c.Machine.Name, spec.Size(size), spec.Size(smbiosBytes)).
			WithHint("name fewer keys in systemd.ssh-keys")
	}
	return nil
}
