package domainxml

import "libvirt.org/go/libvirtxml"

// usb has free ports, so that devices can be plugged with virsh or virt-manager.
func usb(_ Config, d *libvirtxml.Domain) error {
	ports := uint(15)
	d.Devices.Controllers = append(d.Devices.Controllers, libvirtxml.DomainController{
		Type: "usb", Model: "qemu-xhci", USB: &libvirtxml.DomainControllerUSB{Port: &ports},
	})
	return nil
}
