package spec

import "net/netip"

// Link is what a network card is connected to.
type Link string

// The links.
const (
	// LinkUser is a private network behind the host.
	LinkUser Link = "user"
	// LinkNetwork is a libvirt network.
	LinkNetwork Link = "network"
	// LinkBridge is a bridge of the host's own.
	LinkBridge Link = "bridge"
	// LinkMacvtap is a card of the host, beside the host itself.
	LinkMacvtap Link = "macvtap"
)

// CardVirtio is the model of network cards where none is named.
const CardVirtio = "virtio"

// Interface is one network card.
type Interface struct {
	Link Link
	// Name is the network, bridge or card of the host; empty for LinkUser.
	Name string
	// MAC is the card's address; empty makes it a function of the machine and the
	// card's place among its cards.
	MAC string
	// Address is what the network's DHCP server gives the card; LinkNetwork only.
	Address netip.Addr
	// Model is the card's kind; empty is CardVirtio.
	Model string
}

// String is the link for people: "user", "network default", "bridge br0".
func (i Interface) String() string {
	if i.Link == LinkUser {
		return string(LinkUser)
	}
	return string(i.Link) + " " + i.Name
}

// Cards are the machine's network cards on a connection, in the guest's order: those
// that the definition lists, else the one that ResolveNetwork gives, else none.
func (m *Machine) Cards(session bool) []Interface {
	if len(m.Interfaces) > 0 {
		return m.Interfaces
	}
	switch network := m.ResolveNetwork(session); network {
	case NetworkNone:
		return nil
	case NetworkUser:
		return []Interface{{Link: LinkUser}}
	default:
		return []Interface{{Link: LinkNetwork, Name: network}}
	}
}

// networkOf sums listed cards up in the words of the network key: a libvirt network
// where there is one, for that is where the host knows the guest's addresses.
func networkOf(cards []Interface) string {
	word := NetworkUser
	for _, card := range cards {
		switch {
		case card.Link == LinkNetwork:
			return card.Name
		case card.Link != LinkUser && word == NetworkUser:
			word = card.String()
		}
	}
	return word
}
