package libvirt

import (
	"context"
	"encoding/xml"
	"fmt"
	"slices"
	"strconv"
	"strings"

	golibvirt "libvirt.org/go/libvirt"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
)

// nodeXML is what is read of a device of the host.
type nodeXML struct {
	Capability struct {
		Type      string    `xml:"type,attr"`
		Interface string    `xml:"interface"`
		Domain    string    `xml:"domain"`
		Bus       string    `xml:"bus"`
		Slot      string    `xml:"slot"`
		Function  string    `xml:"function"`
		Product   numberXML `xml:"product"`
		Vendor    numberXML `xml:"vendor"`
		IOMMU     *struct{} `xml:"iommuGroup"`
	} `xml:"capability"`
}

type numberXML struct {
	ID   string `xml:"id,attr"`
	Name string `xml:",chardata"`
}

// Devices lists the host's PCI and USB devices, and its network cards and bridges.
func (c *conn) Devices(ctx context.Context) ([]engine.Device, error) {
	return read(ctx, c, "list the devices of "+c.uri, func(l *golibvirt.Connect) ([]engine.Device, error) {
		const kinds = golibvirt.CONNECT_LIST_NODE_DEVICES_CAP_PCI_DEV |
			golibvirt.CONNECT_LIST_NODE_DEVICES_CAP_USB_DEV | golibvirt.CONNECT_LIST_NODE_DEVICES_CAP_NET
		nodes, err := l.ListAllNodeDevices(kinds)
		if err != nil {
			return nil, err
		}
		defer func() {
			for i := range nodes {
				_ = nodes[i].Free()
			}
		}()
		var all []engine.Device
		for i := range nodes {
			text, err := nodes[i].GetXMLDesc(0)
			if err != nil {
				continue // it was unplugged meanwhile
			}
			device, ok, err := parseDevice(text)
			if err != nil {
				return nil, err
			}
			if ok {
				all = append(all, device)
			}
		}
		// Without udev the devices above are those of the daemon's start; bridges made since
		// are known as interfaces only.
		for _, name := range links(l) {
			if !slices.ContainsFunc(all, func(d engine.Device) bool { return d.Kind == engine.DeviceNet && d.Address == name }) {
				all = append(all, engine.Device{Kind: engine.DeviceNet, Address: name})
			}
		}
		return all, nil
	})
}

// parseDevice reads a device of the host; false is one of a kind that no guest gets.
func parseDevice(text string) (engine.Device, bool, error) {
	var node nodeXML
	if err := xml.Unmarshal([]byte(text), &node); err != nil {
		return engine.Device{}, false, fault.New(fault.Other, "the host's device XML cannot be read: %w", err)
	}
	device, ok := node.device()
	return device, ok, nil
}

func (n *nodeXML) device() (engine.Device, bool) {
	c := &n.Capability
	d := engine.Device{
		Kind: engine.DeviceKind(c.Type), Isolated: c.IOMMU != nil,
		Name:    printable(strings.TrimSpace(c.Vendor.Name + " " + c.Product.Name)),
		Numbers: strings.TrimPrefix(c.Vendor.ID, "0x") + ":" + strings.TrimPrefix(c.Product.ID, "0x"),
	}
	switch c.Type {
	case "pci":
		var numbers [4]uint64
		for i, text := range []string{c.Domain, c.Bus, c.Slot, c.Function} {
			n, err := strconv.ParseUint(text, 10, 16)
			if err != nil {
				return d, false
			}
			numbers[i] = n
		}
		d.Address = fmt.Sprintf("%04x:%02x:%02x.%x", numbers[0], numbers[1], numbers[2], numbers[3])
		return d, true
	case "usb_device":
		d.Kind = engine.DeviceUSB
		return d, true
	case "net":
		d.Address, d.Numbers = printable(c.Interface), ""
		return d, true
	}
	return d, false
}

// links are the names of the host's interfaces; none where the host cannot tell.
func links(l *golibvirt.Connect) []string {
	all, err := l.ListAllInterfaces(0)
	if err != nil {
		return nil
	}
	var names []string
	for i := range all {
		if name, err := all[i].GetName(); err == nil {
			names = append(names, printable(name))
		}
		_ = all[i].Free()
	}
	return names
}
