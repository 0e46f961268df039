package domainxml

import "libvirt.org/go/libvirtxml"

// slots are the PCI Express ports of a guest. Each device takes one; what is left is
// room for disks that are attached while it runs, for which libvirt keeps none by itself.
const slots = 14

func ports(c Config, d *libvirtxml.Domain) error {
	d.Devices.Controllers = append(d.Devices.Controllers, libvirtxml.DomainController{
		Type: "pci", Index: new(uint), Model: "pcie-root",
	})
	for range slots + len(c.Disks) {
		d.Devices.Controllers = append(d.Devices.Controllers, libvirtxml.DomainController{Type: "pci", Model: "pcie-root-port"})
	}
	return nil
}
