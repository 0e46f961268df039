package domainxml

import (
	"libvirt.org/go/libvirtxml"

	"vmctl/pkg/spec"
)

// slots are the PCI Express ports of a guest. Each device takes one; what is left is
// room for disks that are attached while it runs, for which libvirt keeps none by itself.
const slots = 14

func ports(c Config, d *libvirtxml.Domain) error {
	d.Devices.Controllers = append(d.Devices.Controllers, libvirtxml.DomainController{
		Type: "pci", Index: new(uint), Model: "pcie-root",
	})
	for range slots + len(c.Disks) + further(c) {
		d.Devices.Controllers = append(d.Devices.Controllers, libvirtxml.DomainController{Type: "pci", Model: "pcie-root-port"})
	}
	return nil
}

// further is how many devices there are that most guests do not have. The watchdog is
// no PCI Express device, and stands behind a bridge.
func further(c Config) int {
	n := len(c.Shares) + max(len(c.Machine.Interfaces)-1, 0) + len(c.PCI)
	for _, f := range c.Machine.XML {
		if f.XML() != "" {
			n++
		}
	}
	if w := c.Machine.Watchdog; w != "" && w != spec.WatchdogNone {
		n += 2
	}
	if g := c.Machine.Graphics; g != "" && g != spec.GraphicsNone {
		n++
	}
	return n
}
