package domainxml

import (
	"encoding/base64"
	"strings"

	"libvirt.org/go/libvirtxml"
)

// MountCredential begins the SMBIOS string that tells a guest what to mount where:
// systemd since 254 reads it by itself. It says nothing that is secret.
// Source: systemd-fstab-generator(8), fstab.extra.
const MountCredential = "io.systemd.credential.binary:fstab.extra="

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
