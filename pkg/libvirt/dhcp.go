package libvirt

import (
	"context"
	"encoding/xml"
	"fmt"
	"net"
	"net/netip"
	"strings"

	golibvirt "libvirt.org/go/libvirt"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
)

// networkXML is what is read of a network.
type networkXML struct {
	IPs []struct {
		Address string `xml:"address,attr"`
		Netmask string `xml:"netmask,attr"`
		Prefix  string `xml:"prefix,attr"`
		DHCP    *struct {
			Hosts []struct {
				MAC string `xml:"mac,attr"`
				IP  string `xml:"ip,attr"`
			} `xml:"host"`
		} `xml:"dhcp"`
	} `xml:"ip"`
}

// DHCP reads what a network's DHCP server gives out.
func (c *conn) DHCP(ctx context.Context, network string) (engine.DHCP, error) {
	return read(ctx, c, "read network "+quoteName(network), func(l *golibvirt.Connect) (out engine.DHCP, err error) {
		err = withNetwork(l, network, func(n *golibvirt.Network) error {
			text, err := n.GetXMLDesc(0)
			if err != nil {
				return err
			}
			out, err = parseDHCP(text)
			return err
		})
		return out, err
	})
}

func parseDHCP(text string) (out engine.DHCP, err error) {
	var n networkXML
	if err := xml.Unmarshal([]byte(text), &n); err != nil {
		return out, fault.New(fault.Other, "the host's network cannot be read: %w", err)
	}
	for _, ip := range n.IPs {
		address, err := netip.ParseAddr(ip.Address)
		if err != nil || ip.DHCP == nil || !address.Is4() {
			continue
		}
		bits := address.BitLen()
		if mask := net.ParseIP(ip.Netmask).To4(); mask != nil {
			bits, _ = net.IPMask(mask).Size()
		} else if ip.Prefix != "" {
			if _, err := fmt.Sscan(ip.Prefix, &bits); err != nil {
				continue
			}
		}
		subnet := netip.PrefixFrom(address, bits)
		if !subnet.IsValid() {
			continue
		}
		out.Subnets = append(out.Subnets, subnet)
		for _, host := range ip.DHCP.Hosts {
			// Others than vmctl may reserve by name alone.
			if reserved, err := netip.ParseAddr(host.IP); err == nil {
				out.Reserved = append(out.Reserved, engine.Reservation{MAC: strings.ToLower(host.MAC), Address: reserved})
			}
		}
	}
	return out, nil
}

// Reserve makes a network's DHCP server keep an address.
func (c *conn) Reserve(ctx context.Context, network string, r engine.Reservation) error {
	return c.updateDHCP(ctx, "reserve", network, r, golibvirt.NETWORK_UPDATE_COMMAND_ADD_LAST)
}

// Release gives it back.
func (c *conn) Release(ctx context.Context, network string, r engine.Reservation) error {
	return c.updateDHCP(ctx, "release", network, r, golibvirt.NETWORK_UPDATE_COMMAND_DELETE)
}

func (c *conn) updateDHCP(ctx context.Context, verb, network string, r engine.Reservation, command golibvirt.NetworkUpdateCommand) error {
	host, err := xml.Marshal(struct {
		XMLName xml.Name `xml:"host"`
		MAC     string   `xml:"mac,attr"`
		IP      string   `xml:"ip,attr"`
	}{MAC: r.MAC, IP: r.Address.String()})
	if err != nil {
		return err
	}
	doing := fmt.Sprintf("%s %s in network %s", verb, r.Address, quoteName(network))
	return change(ctx, c, doing, func(l *golibvirt.Connect) error {
		return withNetwork(l, network, func(n *golibvirt.Network) error {
			var flags golibvirt.NetworkUpdateFlags
			active, err := n.IsActive()
			if err != nil {
				return err
			}
			persistent, err := n.IsPersistent()
			if err != nil {
				return err
			}
			if active {
				flags |= golibvirt.NETWORK_UPDATE_AFFECT_LIVE
			}
			if persistent {
				flags |= golibvirt.NETWORK_UPDATE_AFFECT_CONFIG
			}
			return n.Update(command, golibvirt.NETWORK_SECTION_IP_DHCP_HOST, -1, string(host), flags)
		})
	})
}
