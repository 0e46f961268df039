package domainxml

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"libvirt.org/go/libvirtxml"

	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// The programs behind user networking. Slirp is part of QEMU, and forwards ports by
// its command line alone: libvirt has no XML for that. Passt is a program of its own,
// faster, with IPv6.
const (
	UserSlirp = "slirp"
	UserPasst = "passt"
)

// MAC is the address of the machine's first network card: a function of its UUID, so
// that DHCP gives the same address after the machine was made anew. The prefix is QEMU's.
func MAC(uuid string) string { return spec.MAC(uuid, 0) }

// network gives the guest its cards. They carry no boot ROM: nothing boots from the
// network, and running the ROM costs time in every boot. Ports lead to the first card
// with user networking.
func network(c Config, d *libvirtxml.Domain) error {
	m := &c.Machine
	if len(m.Interfaces) == 0 && m.Network == "" {
		return fault.New(fault.Invalid, "machine %s: its network is undecided", m.Name)
	}
	cards, forwarded := m.Cards(false), false
	bySlirp := len(m.Ports) > 0 && c.User != UserPasst && slices.ContainsFunc(cards, func(card spec.Interface) bool { return card.Link == spec.LinkUser })
	for i, card := range cards {
		nic := libvirtxml.DomainInterface{
			MAC:   &libvirtxml.DomainInterfaceMAC{Address: card.CardMAC(c.UUID, i)},
			Model: &libvirtxml.DomainInterfaceModel{Type: model(card)},
			ROM:   &libvirtxml.DomainROM{Enabled: "no"},
		}
		forwards := card.Link == spec.LinkUser && len(m.Ports) > 0 && !forwarded
		forwarded = forwarded || forwards
		if forwards && c.User != UserPasst {
			if err := slirp(c, i, card, d); err != nil {
				return err
			}
			continue
		}
		if err := link(card, &nic, c); err != nil {
			return err
		}
		if forwards {
			nic.PortForward = portForwards(m.Ports)
		}
		if bySlirp {
			// On the bus of the card that libvirt does not know of: guests count bus by bus.
			nic.Address = &libvirtxml.DomainAddress{PCI: place(i)}
		}
		d.Devices.Interfaces = append(d.Devices.Interfaces, nic)
	}
	if len(m.Ports) > 0 && !forwarded {
		return fault.New(fault.Invalid, "machine %s: ports are forwarded by user networking only, not on network %q", m.Name, m.ResolveNetwork(false)).
			WithHint("set network: user, or leave out ports")
	}
	return nil
}

func model(card spec.Interface) string {
	if card.Model == "" {
		return spec.CardVirtio
	}
	return card.Model
}

// link connects the card.
func link(card spec.Interface, nic *libvirtxml.DomainInterface, c Config) error {
	source := &libvirtxml.DomainInterfaceSource{}
	switch card.Link {
	case spec.LinkUser:
		source.User = &libvirtxml.DomainInterfaceSourceUser{}
		if c.User == UserPasst {
			nic.Backend = &libvirtxml.DomainInterfaceBackend{Type: "passt"}
		}
	case spec.LinkNetwork:
		source.Network = &libvirtxml.DomainInterfaceSourceNetwork{Network: card.Name}
	case spec.LinkBridge:
		source.Bridge = &libvirtxml.DomainInterfaceSourceBridge{Bridge: card.Name}
	case spec.LinkMacvtap:
		source.Direct = &libvirtxml.DomainInterfaceSourceDirect{Dev: card.Name, Mode: "bridge"}
	default:
		return fault.New(fault.Invalid, "machine %s: a network card cannot be connected to %q", c.Machine.Name, card.Link)
	}
	nic.Source = source
	return nil
}

// portForwards are the forwards as passt takes them.
func portForwards(ports []spec.Port) []libvirtxml.DomainInterfaceSourcePortForward {
	all := make([]libvirtxml.DomainInterfaceSourcePortForward, len(ports))
	for i, p := range ports {
		all[i] = libvirtxml.DomainInterfaceSourcePortForward{
			Proto: p.Protocol, Address: listen(p),
			Ranges: []libvirtxml.DomainInterfaceSourcePortForwardRange{{Start: uint(p.Host), To: uint(p.Guest)}},
		}
	}
	return all
}

func listen(p spec.Port) string {
	if p.Address.IsValid() {
		return p.Address.Unmap().String()
	}
	return "127.0.0.1"
}

// slot is a PCI slot far behind those that libvirt numbers from 1, because libvirt
// does not know of the card in it. The first card has it, the others follow.
const slot = 0x10

func place(index int) *libvirtxml.DomainAddressPCI {
	var domain, bus, function uint
	at := uint(slot + index)
	return &libvirtxml.DomainAddressPCI{Domain: &domain, Bus: &bus, Slot: &at, Function: &function}
}

// slirp passes the card with the forwards to QEMU by its command line.
func slirp(c Config, index int, card spec.Interface, d *libvirtxml.Domain) error {
	netdev := []string{"user", "id=vmctl0"}
	for _, p := range c.Machine.Ports {
		if p.Address.IsValid() && !p.Address.Unmap().Is4() {
			return fault.New(fault.Invalid, "machine %s: port %d cannot be forwarded from %s: QEMU's user networking listens on IPv4 addresses only",
				c.Machine.Name, p.Host, p.Address)
		}
		if p.Protocol != "tcp" && p.Protocol != "udp" {
			return fault.New(fault.Invalid, "machine %s: port %d cannot be forwarded by %q, only by tcp or udp", c.Machine.Name, p.Host, p.Protocol)
		}
		netdev = append(netdev, "hostfwd="+p.Protocol+":"+listen(p)+":"+
			strconv.Itoa(int(p.Host))+"-:"+strconv.Itoa(int(p.Guest)))
	}
	device := []string{
		deviceOf(model(card)), "id=vmctl-net0", "netdev=vmctl0", "mac=" + card.CardMAC(c.UUID, index),
		"bus=pcie.0", fmt.Sprintf("addr=0x%x", slot+index), "romfile=",
	}
	d.QEMUCommandline = &libvirtxml.DomainQEMUCommandline{Args: []libvirtxml.DomainQEMUCommandlineArg{
		{Value: "-netdev"}, {Value: options(netdev)},
		{Value: "-device"}, {Value: options(device)},
	}}
	return nil
}

// deviceOf is QEMU's name for a model of card.
func deviceOf(model string) string {
	if model == spec.CardVirtio {
		return "virtio-net-pci"
	}
	return model
}

// options joins QEMU options; a comma inside a value is written twice.
func options(values []string) string {
	escaped := make([]string, len(values))
	for i, v := range values {
		escaped[i] = strings.ReplaceAll(v, ",", ",,")
	}
	return strings.Join(escaped, ",")
}
