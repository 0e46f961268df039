package domainxml

import (
	"encoding/xml"
	"fmt"

	"libvirt.org/go/libvirtxml"

	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// Config is everything a domain is made from.
type Config struct {
	UUID string
	// Machine has its network resolved and its accelerator decided (never auto).
	Machine spec.Machine
	// Arch is the guest's architecture in libvirt's words: x86_64 or aarch64.
	Arch string
	// Root is the path of the root disk on the host, always qcow2.
	Root string
	// BasePath and BaseFormat are the image below the root disk; an empty path means
	// that nothing is below it.
	BasePath, BaseFormat string
	// Disks come after the root disk, in this order.
	Disks []Disk
	// Log is the path on the host that takes what the serial console prints; empty for none.
	Log string
	// Vars is the path on the host of the UEFI firmware's variables; empty leaves it to libvirt.
	Vars string
	// Shares are directories of the host.
	Shares []Share
	// Mounts are lines of fstab(5) that the guest is told of.
	Mounts []string
	// User is what user networking is done by: UserSlirp, which is also the empty one,
	// or UserPasst.
	User string
	// PCI are the addresses of the host's PCI devices that the guest gets.
	PCI []string
	// Video is the graphics card's model; empty is virtio.
	Video string
	// Metadata is the XML element that goes into <metadata>; empty for none.
	Metadata string
}

// part renders one concern into the domain.
type part func(Config, *libvirtxml.Domain) error

// Render gives the domain's XML. What the host could not run is an error of kind Invalid.
func Render(c Config) (string, error) {
	d := &libvirtxml.Domain{
		Name:    c.Machine.Name,
		UUID:    c.UUID,
		Devices: &libvirtxml.DomainDeviceList{},
	}
	if c.Metadata != "" {
		d.Metadata = &libvirtxml.DomainMetadata{XML: c.Metadata}
	}
	for _, p := range []part{
		platform, firmware, cpu, memory, clock, power,
		rootDisk, disks, shares, mounts, systemd, smbiosFits, ports, usb, network, serial, agent, channel, rng, balloon,
		tpm, watchdog, graphics, hostdevs,
	} {
		if err := p(c, d); err != nil {
			return "", err
		}
	}
	out, err := xml.MarshalIndent(d, "", "  ")
	if err != nil {
		return "", fmt.Errorf("domain %s cannot be written as XML: %w", c.Machine.Name, err)
	}
	domain, err := merge(string(out)+"\n", usbDevices(&c.Machine))
	if err != nil {
		return "", err
	}
	return merge(domain, c.Machine.XML)
}

// The architectures that can be rendered.
const (
	archX86 = "x86_64"
	archARM = "aarch64"
)

func platform(c Config, d *libvirtxml.Domain) error {
	switch c.Machine.Accel {
	case spec.AccelKVM:
		d.Type = "kvm"
	case spec.AccelTCG:
		d.Type = "qemu"
	default:
		return fault.New(fault.Invalid, "machine %s: its accelerator is undecided (%q)", c.Machine.Name, c.Machine.Accel)
	}
	d.OS = &libvirtxml.DomainOS{
		Type:        &libvirtxml.DomainOSType{Arch: c.Arch, Type: "hvm"},
		BootDevices: []libvirtxml.DomainBootDevice{{Dev: "hd"}},
	}
	d.Features = &libvirtxml.DomainFeatureList{ACPI: &libvirtxml.DomainFeature{}}
	switch c.Arch {
	case archX86:
		d.OS.Type.Machine = "q35"
		d.Features.APIC = &libvirtxml.DomainFeatureAPIC{}
	case archARM:
		d.OS.Type.Machine = "virt"
	default:
		return fault.New(fault.Invalid, "machine %s: guests of architecture %q are not supported, only x86_64 and aarch64", c.Machine.Name, c.Arch)
	}
	return nil
}
