package libvirt

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	golibvirt "libvirt.org/go/libvirt"

	"vmctl/pkg/libvirt/domainxml"
)

const (
	// agentSeconds is how long the guest's agent may think about an answer; one that
	// keeps silent would block every other question to that guest.
	agentSeconds = 3
	// maxAddresses bounds what a guest may claim.
	maxAddresses = 32
)

// Addresses asks the guest's agent, and the DHCP server where there is none. What the
// guest says is hostile: only addresses pass, and not many.
func (c *conn) Addresses(ctx context.Context, domain string) ([]string, error) {
	return read(ctx, c, "ask for the addresses of domain "+quoteName(domain), func(l *golibvirt.Connect) (out []string, err error) {
		err = withDomain(l, domain, func(d *golibvirt.Domain) error {
			uuid, err := d.GetUUIDString()
			if err != nil {
				return err
			}
			mac := domainxml.MAC(uuid)
			// Hosts before 5.10 cannot bound the agent; ctx still does.
			_ = d.AgentSetResponseTimeout(agentSeconds, 0)
			found, agentErr := d.ListAllInterfaceAddresses(golibvirt.DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT)
			if agentErr == nil {
				if out = addresses(found, mac); len(out) > 0 {
					return nil
				}
			}
			found, leaseErr := d.ListAllInterfaceAddresses(golibvirt.DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE)
			if leaseErr == nil {
				out = addresses(found, mac)
				return nil
			}
			if absent(leaseErr) || lost(leaseErr) {
				return leaseErr
			}
			// Neither source answers: there is no agent (yet), and no DHCP server of libvirt's.
			return nil
		})
		return out, err
	})
}

// addresses are the usable ones: those of the machine's own card first, IPv4 before
// IPv6, no loopback and no link-local.
func addresses(interfaces []golibvirt.DomainInterface, mac string) []string {
	type candidate struct {
		netip.Addr
		own bool
	}
	var all []candidate
	for _, i := range interfaces {
		for _, a := range i.Addrs {
			address, err := netip.ParseAddr(a.Addr)
			if err != nil || address.Zone() != "" || len(all) == maxAddresses {
				continue
			}
			address = address.Unmap()
			if !address.IsGlobalUnicast() {
				continue
			}
			all = append(all, candidate{address, strings.EqualFold(i.Hwaddr, mac)})
		}
	}
	rank := func(c candidate) int {
		n := 0
		if !c.own {
			n += 2
		}
		if !c.Is4() {
			n++
		}
		return n
	}
	slices.SortStableFunc(all, func(a, b candidate) int { return rank(a) - rank(b) })
	var out []string
	for _, c := range all {
		if s := c.String(); !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}
