package domainxml

import (
	"fmt"
	"strconv"
	"strings"

	"libvirt.org/go/libvirtxml"

	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// MAC is the address of the machine's network card: a function of its UUID, so that
// DHCP gives the same address after the machine was made anew. The prefix is QEMU's.
func MAC(uuid string) string {
	hex := strings.ReplaceAll(uuid, "-", "")
	if len(hex) < 6 {
		hex = strings.Repeat("0", 6-len(hex)) + hex
	}
	hex = hex[len(hex)-6:]
	return fmt.Sprintf("52:54:00:%s:%s:%s", hex[0:2], hex[2:4], hex[4:6])
}

// network gives the guest one virtio card, or none. The card carries no boot ROM:
// nothing boots from the network, and running the ROM costs time in every boot.
func network(c Config, d *libvirtxml.Domain) error {
	if len(c.Machine.Ports) > 0 && c.Machine.Network != spec.NetworkUser {
		return fault.New(fault.Invalid, "machine %s: ports are forwarded by user networking only, not on network %q", c.Machine.Name, c.Machine.Network).
			WithHint("set network: user, or leave out ports")
	}
	if len(c.Machine.Ports) > 0 {
		return forwards(c, d)
	}
	card := libvirtxml.DomainInterface{
		MAC:   &libvirtxml.DomainInterfaceMAC{Address: MAC(c.UUID)},
		Model: &libvirtxml.DomainInterfaceModel{Type: "virtio"},
		ROM:   &libvirtxml.DomainROM{Enabled: "no"},
	}
	switch c.Machine.Network {
	case spec.NetworkNone:
		return nil
	case spec.NetworkUser:
		card.Source = &libvirtxml.DomainInterfaceSource{User: &libvirtxml.DomainInterfaceSourceUser{}}
	case "":
		return fault.New(fault.Invalid, "machine %s: its network is undecided", c.Machine.Name)
	default:
		card.Source = &libvirtxml.DomainInterfaceSource{
			Network: &libvirtxml.DomainInterfaceSourceNetwork{Network: c.Machine.Network},
		}
	}
	d.Devices.Interfaces = append(d.Devices.Interfaces, card)
	return nil
}

// slot is a PCI slot far behind those that libvirt numbers from 1, because libvirt
// does not know of this card.
const slot = "0x10"

// forwards passes the card to QEMU by its command line: libvirt before 9.2 has no
// XML for forwarding ports (its passt backend is refused by 9.0's parser).
func forwards(c Config, d *libvirtxml.Domain) error {
	netdev := []string{"user", "id=vmctl0"}
	for _, p := range c.Machine.Ports {
		if p.Address.IsValid() && !p.Address.Unmap().Is4() {
			return fault.New(fault.Invalid, "machine %s: port %d cannot be forwarded from %s: QEMU's user networking listens on IPv4 addresses only",
				c.Machine.Name, p.Host, p.Address)
		}
		if p.Protocol != "tcp" && p.Protocol != "udp" {
			return fault.New(fault.Invalid, "machine %s: port %d cannot be forwarded by %q, only by tcp or udp", c.Machine.Name, p.Host, p.Protocol)
		}
		address := "127.0.0.1"
		if p.Address.IsValid() {
			address = p.Address.Unmap().String()
		}
		netdev = append(netdev, "hostfwd="+p.Protocol+":"+address+":"+
			strconv.Itoa(int(p.Host))+"-:"+strconv.Itoa(int(p.Guest)))
	}
	device := []string{"virtio-net-pci", "id=vmctl-net0", "netdev=vmctl0", "mac=" + MAC(c.UUID), "bus=pcie.0", "addr=" + slot, "romfile="}
	d.QEMUCommandline = &libvirtxml.DomainQEMUCommandline{Args: []libvirtxml.DomainQEMUCommandlineArg{
		{Value: "-netdev"}, {Value: options(netdev)},
		{Value: "-device"}, {Value: options(device)},
	}}
	return nil
}

// options joins QEMU options; a comma inside a value is written twice.
func options(values []string) string {
	escaped := make([]string, len(values))
	for i, v := range values {
		escaped[i] = strings.ReplaceAll(v, ",", ",,")
	}
	return strings.Join(escaped, ",")
}
