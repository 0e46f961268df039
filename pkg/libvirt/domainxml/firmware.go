package domainxml

import (
	"libvirt.org/go/libvirtxml"

	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// firmware asks libvirt to choose the UEFI build. <os firmware='efi'> alone takes the
// one with enrolled keys on Debian 12, where an unsigned loader gets "Access Denied"
// while the domain shows as running: so secure boot is switched off unless asked for.
func firmware(c Config, d *libvirtxml.Domain) error {
	m := c.Machine
	// Nothing but UEFI boots a disk on the virt board.
	efi := m.Firmware == spec.FirmwareEFI || c.Arch == archARM
	switch {
	case m.SecureBoot && !efi:
		return fault.New(fault.Invalid, "machine %s: secure boot needs firmware: efi", m.Name)
	case !efi:
		return nil
	}
	d.OS.Firmware = "efi"
	enabled := "no"
	if m.SecureBoot {
		enabled = "yes"
	}
	features := []libvirtxml.DomainOSFirmwareFeature{{Enabled: enabled, Name: "secure-boot"}}
	if m.SecureBoot {
		features = append(features, libvirtxml.DomainOSFirmwareFeature{Enabled: "yes", Name: "enrolled-keys"})
		if c.Arch == archX86 {
			// The firmware keeps its keys from the guest in system management mode.
			d.Features.SMM = &libvirtxml.DomainFeatureSMM{State: "on"}
		}
	}
	if c.Vars != "" {
		d.OS.NVRam = &libvirtxml.DomainNVRam{NVRam: c.Vars}
	}
	d.OS.FirmwareInfo = &libvirtxml.DomainOSFirmwareInfo{Features: features}
	return nil
}
