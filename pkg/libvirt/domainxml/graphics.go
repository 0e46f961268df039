package domainxml

import (
	"libvirt.org/go/libvirtxml"

	"vmctl/pkg/spec"
)

// graphics gives the guest a screen that is served on the host's loopback address
// alone, on a port that libvirt chooses. The tablet keeps the pointer where the
// viewer's is.
func graphics(c Config, d *libvirtxml.Domain) error {
	local := []libvirtxml.DomainGraphicListener{
		{Address: &libvirtxml.DomainGraphicListenerAddress{Address: "127.0.0.1"}},
	}
	screen := libvirtxml.DomainGraphic{}
	switch c.Machine.Graphics {
	case spec.GraphicsVNC:
		screen.VNC = &libvirtxml.DomainGraphicVNC{Port: -1, AutoPort: "yes", Listeners: local}
	case spec.GraphicsSpice:
		screen.Spice = &libvirtxml.DomainGraphicSpice{AutoPort: "yes", Listeners: local}
	default:
		return nil
	}
	d.Devices.Graphics = append(d.Devices.Graphics, screen)
	model := c.Video
	if model == "" {
		model = "virtio"
	}
	d.Devices.Videos = append(d.Devices.Videos, libvirtxml.DomainVideo{Model: libvirtxml.DomainVideoModel{Type: model}})
	d.Devices.Inputs = append(d.Devices.Inputs, libvirtxml.DomainInput{Type: "tablet", Bus: "usb"})
	if c.Arch == archARM {
		// There is no PS/2 one.
		d.Devices.Inputs = append(d.Devices.Inputs, libvirtxml.DomainInput{Type: "keyboard", Bus: "usb"})
	}
	return nil
}
