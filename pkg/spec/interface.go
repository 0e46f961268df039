package spec

import (
	"crypto/sha256"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/invopop/jsonschema"
)

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

// MAC is the address of the card at an index from 0 of the machine with a UUID, where
// the definition gives it none: a function of both, so that DHCP gives the same address
// after the machine was made anew. The prefix is QEMU's.
func MAC(uuid string, index int) string {
	if index > 0 {
		sum := sha256.Sum256([]byte(uuid + "/" + strconv.Itoa(index)))
		return fmt.Sprintf("52:54:00:%02x:%02x:%02x", sum[0], sum[1], sum[2])
	}
	hex := strings.ReplaceAll(uuid, "-", "")
	if len(hex) < 6 {
		hex = strings.Repeat("0", 6-len(hex)) + hex
	}
	hex = hex[len(hex)-6:]
	return fmt.Sprintf("52:54:00:%s:%s:%s", hex[0:2], hex[2:4], hex[4:6])
}

// CardMAC is the card's address, its own or made.
func (i Interface) CardMAC(uuid string, index int) string {
	if i.MAC != "" {
		return i.MAC
	}
	return MAC(uuid, index)
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

const (
	maxInterfaces = 8
	// A name of a bridge or card has at most 15 bytes in Linux.
	linkPattern = `^[A-Za-z0-9_][A-Za-z0-9_.@:-]{0,14}$`
	macPattern  = `^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$`
)

func interfacesField() field {
	return listed(field{
		Field: Field{
			Key: "interfaces", Type: "list of network cards", Default: "the one that network says",
			Example: `[{"network": "default", "address": "192.168.122.50"}]`,
			Doc:     "The guest's network cards, in its order, for more than network can say. Each is connected to a network, a bridge, a card of the host (macvtap), or user networking.",
		},
		words: []string{"interface", "nics", "cards", "network-interfaces"},
	}, record[Interface]{
		what: "an interface", example: "{network: default}",
		fields: interfaceFields,
		short: func(p *parser, v value, t *Interface) {
			if s, _ := scalarText(v.node); s != NetworkUser {
				p.add(v.at, v.path, quote(s)+" says not what the card is connected to", "write user, {network: NAME}, {bridge: NAME} or {macvtap: NAME}")
				return
			}
			t.Link = LinkUser
		},
		shortSchema: &jsonschema.Schema{Const: NetworkUser},
		together:    interfaceTogether,
		rules: []*jsonschema.Schema{
			{OneOf: []*jsonschema.Schema{
				{Required: []string{"network"}}, {Required: []string{"bridge"}}, {Required: []string{"macvtap"}}, {Required: []string{"user"}},
			}},
			needs("address", "network"),
		},
	}, maxInterfaces, func(p *parser, v value, i Interface) {
		for _, other := range p.m.Interfaces {
			if i.MAC != "" && i.MAC == other.MAC {
				p.add(v.at, v.path, "another interface has the MAC address "+i.MAC, "give each its own, or leave them out")
				return
			}
			if i.Address.IsValid() && i.Address == other.Address && i.Name == other.Name {
				p.add(v.at, v.path, "another interface has the address "+i.Address.String(), "give each its own")
				return
			}
		}
		p.m.Interfaces = append(p.m.Interfaces, i)
	})
}

func interfaceFields(t *Interface) fieldTable {
	link := func(link Link, typ, example, doc, pattern string, length int) field {
		return field{
			Field:  Field{Key: string(link), Type: typ, Default: "none", Example: example, Doc: doc},
			schema: text(pattern, uint64(length)),
			read: func(p *parser, v value) {
				s, ok := p.text1(v, "a name", "")
				switch {
				case !ok:
				case len(s) > length || !regexp.MustCompile(pattern).MatchString(s):
					p.add(v.at, v.path, fmt.Sprintf("%s cannot be a name here", quote(s)), "")
				default:
					p.connect(v, t, link, s)
				}
			},
		}
	}
	return fieldTable{
		link(LinkNetwork, "a libvirt network", "default", "The libvirt network that the card is on.", networkPattern, networkLength),
		link(LinkBridge, "a bridge of the host", "br0", "The host's bridge that the card is plugged into; it must be there.", linkPattern, 15),
		link(LinkMacvtap, "a card of the host", "eth0",
			"The host's card that this one is beside, with an address of its own in the network there (macvtap). Guest and host cannot reach each other over it.",
			linkPattern, 15),
		{
			Field: Field{
				Key: "user", Type: "true", Default: "false", Example: "true",
				Doc: "Connect the card to a private network behind the host. The ports that are forwarded lead to the first such card.",
			},
			schema: &jsonschema.Schema{Const: true},
			read: func(p *parser, v value) {
				user := false
				readBool(p, v, &user)
				if b, ok := v.node.(*ast.BoolNode); ok && !b.Value {
					p.add(v.at, v.path, "user: false connects the card to nothing", "take it out, and name a network")
				}
				if user {
					p.connect(v, t, LinkUser, "")
				}
			},
		},
		{
			Field: Field{
				Key: "mac", Type: "MAC address", Default: "made from the machine's name and the card's place", Example: "52:54:00:12:34:56",
				Doc: "The card's own address.",
			},
			words:  []string{"hwaddr", "mac-address", "macaddress"},
			schema: text(macPattern, 17),
			read:   func(p *parser, v value) { readMAC(p, v, &t.MAC) },
		},
		{
			Field: Field{
				Key: "address", Type: "IPv4 address", Default: "what DHCP gives", Example: "192.168.122.50",
				Doc: "The address that the libvirt network's DHCP server keeps for this card; it is given back when the machine is taken down. Only with network.",
			},
			words:  []string{"ip", "ipv4", "addr", "fixed-address"},
			schema: text(`^[0-9.]+$`, 15),
			read: func(p *parser, v value) {
				s, ok := p.text1(v, "an IP address", "such as 192.168.122.50")
				if !ok {
					return
				}
				address, err := parseAddress(s)
				if err == nil && !address.Is4() {
					p.add(v.at, v.path, "only IPv4 addresses can be fixed", "take it out: the guest makes an IPv6 address of its own")
					return
				}
				if err != nil || address.IsUnspecified() || address.IsLoopback() {
					p.add(v.at, v.path, quote(s)+" is not an address that a guest can have", "write one of the network's, such as 192.168.122.50")
					return
				}
				t.Address = address
			},
		},
		{
			Field: Field{
				Key: "model", Type: "virtio, e1000e, e1000 or rtl8139", Default: CardVirtio, Example: "e1000e",
				Doc: "What kind of card the guest sees; virtio is the fast one, the others are for guests without its driver.",
			},
			words:  []string{"type", "driver"},
			schema: oneOf(CardVirtio, "e1000e", "e1000", "rtl8139"),
			read:   func(p *parser, v value) { readWord(p, v, &t.Model, CardVirtio, "e1000e", "e1000", "rtl8139") },
		},
	}
}

// connect notes what a card is connected to, once.
func (p *parser) connect(v value, t *Interface, link Link, name string) {
	if t.Link != "" {
		p.add(v.at, v.path, fmt.Sprintf("the card is connected to %s already", t), "write an interface of its own for each card")
		return
	}
	t.Link, t.Name = link, name
}

func interfaceTogether(p *parser, s scope, t *Interface) {
	switch {
	case t.Link == "":
		p.add(s.at, s.path, "an interface needs something to be connected to", "write network: NAME, bridge: NAME, macvtap: NAME or user: true")
	case t.Address.IsValid() && t.Link != LinkNetwork:
		p.add(p.keys[s.of("address")], s.of("address"),
			fmt.Sprintf("an address can be fixed on a libvirt network only, not on %s", t), "set the address inside the guest")
	}
}

func readMAC(p *parser, v value, dst *string) {
	s, ok := p.text1(v, "a MAC address", "such as \"52:54:00:12:34:56\"")
	if !ok {
		return
	}
	mac, err := net.ParseMAC(s)
	switch {
	case err != nil || !regexp.MustCompile(macPattern).MatchString(s):
		p.add(v.at, v.path, quote(s)+" is not a MAC address", "write six pairs of digits, such as 52:54:00:12:34:56")
	case mac[0]&1 != 0:
		p.add(v.at, v.path, s+" is the address of a group, not of a card", "begin it with 52:54:00")
	case mac[0]|mac[1]|mac[2]|mac[3]|mac[4]|mac[5] == 0:
		p.add(v.at, v.path, s+" is nobody's address", "begin it with 52:54:00")
	default:
		*dst = mac.String()
	}
}
