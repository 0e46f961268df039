package domainxml

import "libvirt.org/go/libvirtxml"

// AgentChannel is the name under which the QEMU guest agent finds its channel.
const AgentChannel = "org.qemu.guest_agent.0"

func agent(_ Config, d *libvirtxml.Domain) error {
	d.Devices.Channels = append(d.Devices.Channels, libvirtxml.DomainChannel{
		Source: &libvirtxml.DomainChardevSource{UNIX: &libvirtxml.DomainChardevSourceUNIX{}},
		Target: &libvirtxml.DomainChannelTarget{
			VirtIO: &libvirtxml.DomainChannelTargetVirtIO{Name: AgentChannel},
		},
	})
	return nil
}
