package domainxml

import (
	"fmt"
	"html"
	"strconv"
	"strings"

	"libvirt.org/go/libvirtxml"

	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// hostdevs are devices of the host that the guest gets for itself. libvirt takes a PCI
// device from the host's driver and gives it back (managed).
func hostdevs(c Config, d *libvirtxml.Domain) error {
	for _, address := range c.PCI {
		pci, ok := pciAddress(address)
		if !ok {
			return fault.New(fault.Invalid, "machine %s: %q is not the address of a PCI device", c.Machine.Name, address)
		}
		d.Devices.Hostdevs = append(d.Devices.Hostdevs, libvirtxml.DomainHostdev{
			Managed:   "yes",
			SubsysPCI: &libvirtxml.DomainHostdevSubsysPCI{Source: &libvirtxml.DomainHostdevSubsysPCISource{Address: pci}},
		})
	}
	return nil
}

// usbDevices are the host's USB devices. They are written as text, because libvirtxml
// writes product and vendor in an order that libvirt's schema refuses.
func usbDevices(m *spec.Machine) []spec.Fragment {
	var all []spec.Fragment
	for _, device := range m.Devices.USB {
		vendor, product, _ := strings.Cut(device, ":")
		all = append(all, spec.Fragment{At: "devices", Add: fmt.Sprintf(`<hostdev mode="subsystem" type="usb" managed="yes">
  <source>
    <vendor id="0x%s"></vendor>
    <product id="0x%s"></product>
  </source>
</hostdev>`, html.EscapeString(vendor), html.EscapeString(product))})
	}
	return all
}

// pciAddress reads DOMAIN:BUS:SLOT.FUNCTION, all hexadecimal.
func pciAddress(s string) (*libvirtxml.DomainAddressPCI, bool) {
	words := strings.FieldsFunc(s, func(r rune) bool { return r == ':' || r == '.' })
	if len(words) != 4 {
		return nil, false
	}
	var numbers [4]uint
	for i, word := range words {
		n, err := strconv.ParseUint(word, 16, 32)
		if err != nil {
			return nil, false
		}
		numbers[i] = uint(n)
	}
	return &libvirtxml.DomainAddressPCI{Domain: &numbers[0], Bus: &numbers[1], Slot: &numbers[2], Function: &numbers[3]}, true
}
