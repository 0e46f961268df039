package libvirt

import (
	"context"
	"encoding/json"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	golibvirt "libvirt.org/go/libvirt"

	"vmctl/pkg/libvirt/domainxml"
)

const (
	// agentPatience is how long the guest's agent may think about an answer.
	agentPatience = 3 * time.Second
	// maxAddresses bounds what a guest may claim.
	maxAddresses = 32
)

// Addresses asks the guest's agent and the DHCP server at once; the agent's word comes
// second, when it has one in time. What the guest says is hostile: only addresses pass,
// not many, and none of the host's own. Nothing is set on the domain: the agent's timeout
// is this question's alone.
func (c *conn) Addresses(ctx context.Context, domain string) ([]string, error) {
	doing := "ask for the addresses of domain " + quoteName(domain)
	told := make(chan []string, 1)
	patient, cancel := context.WithTimeout(ctx, agentPatience)
	defer cancel()
	go func() {
		found, _ := read(patient, c, doing, func(l *golibvirt.Connect) (out []string, err error) {
			err = c.withDomain(l, domain, func(d *golibvirt.Domain) error {
				out, err = agentAddresses(d)
				return err
			})
			return out, err
		})
		told <- found
	}()
	leased, err := read(ctx, c, doing, func(l *golibvirt.Connect) (out []string, err error) {
		err = c.withDomain(l, domain, func(d *golibvirt.Domain) error {
			out, err = leasedAddresses(d)
			return err
		})
		return out, err
	})
	if err != nil {
		return nil, err
	}
	return merge(leased, <-told, c.own()), ctx.Err()
}

// merge puts what the host knows before what the guest says, and leaves out the host's
// own addresses: a guest that claims one would have a person log in to the host in its
// place.
func merge(leased, told []string, own []netip.Addr) []string {
	var out []string
	for _, s := range slices.Concat(leased, told) {
		address, err := netip.ParseAddr(s)
		if err == nil && len(out) < maxAddresses && !slices.Contains(own, address) && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// own are the host's addresses, as far as they can be known here: all of them when it is
// this machine, and what the connection was made to when that is an address.
func (c *conn) own() []netip.Addr {
	var all []netip.Addr
	if u, err := url.Parse(c.uri); err == nil {
		if address, err := netip.ParseAddr(u.Hostname()); err == nil {
			all = append(all, address.Unmap())
		}
	}
	if !c.place.local {
		return all
	}
	cards, _ := net.InterfaceAddrs() // none are known where they cannot be asked
	for _, card := range cards {
		if prefix, err := netip.ParsePrefix(card.String()); err == nil {
			all = append(all, prefix.Addr().Unmap())
		}
	}
	return all
}

// agentAddresses is virDomainInterfaceAddresses for the agent, with a timeout of its own:
// libvirt's call has none, or one that stays with the domain.
func agentAddresses(d *golibvirt.Domain) ([]string, error) {
	mac, err := ownMAC(d)
	if err != nil {
		return nil, err
	}
	reply, err := agentCommand(d, `{"execute":"guest-network-get-interfaces"}`, agentPatience)
	if err != nil {
		return nil, err
	}
	return parseAgentAddresses(reply, mac), nil
}

// parseAgentAddresses reads the agent's answer; of one that is none, nothing.
func parseAgentAddresses(reply, mac string) []string {
	var answer struct {
		Return []struct {
			MAC       string `json:"hardware-address"`
			Addresses []struct {
				Address string `json:"ip-address"`
			} `json:"ip-addresses"`
		} `json:"return"`
	}
	if len(reply) > maxAgentReply || json.Unmarshal([]byte(reply), &answer) != nil {
		return nil
	}
	var found []golibvirt.DomainInterface
	for _, i := range answer.Return {
		card := golibvirt.DomainInterface{Hwaddr: i.MAC}
		for _, a := range i.Addresses {
			card.Addrs = append(card.Addrs, golibvirt.DomainIPAddress{Addr: a.Address})
		}
		found = append(found, card)
	}
	return addresses(found, mac)
}

// leasedAddresses are those that libvirt's DHCP server gave out; none where there is no
// such server.
func leasedAddresses(d *golibvirt.Domain) ([]string, error) {
	mac, err := ownMAC(d)
	if err != nil {
		return nil, err
	}
	found, err := d.ListAllInterfaceAddresses(golibvirt.DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE)
	if err != nil {
		if absent(err) || lost(err) {
			return nil, err
		}
		return nil, nil
	}
	return addresses(found, mac), nil
}

func ownMAC(d *golibvirt.Domain) (string, error) {
	uuid, err := d.GetUUIDString()
	return domainxml.MAC(uuid), err
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
