package spec

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"vmctl/pkg/fault"
)

// Protocols of a Port.
const (
	TCP = "tcp"
	UDP = "udp"
)

// auto stands for a port of the host that vmctl chooses.
const auto = "auto"

// ParsePort reads HOST:GUEST, ADDRESS:HOST:GUEST or [IPV6]:HOST:GUEST, each with
// an optional /tcp or /udp; HOST may be auto. Without an address only this host itself
// can connect.
func ParsePort(s string) (Port, error) {
	bad := func(why string) *fault.Error {
		return fault.New(fault.Usage, "%s is not a port forward: %s", quote(s), why).
			WithHint("write [ADDRESS:]HOST:GUEST[/udp], such as 2222:22, auto:22 or 0.0.0.0:8080:80")
	}
	port := Port{Address: loopback(), Protocol: TCP}
	text, protocol, hasProtocol := strings.Cut(s, "/")
	if hasProtocol {
		if protocol != TCP && protocol != UDP {
			return Port{}, bad("after / comes tcp or udp")
		}
		port.Protocol = protocol
	}

	numbers := text
	if inside, after, ok := strings.Cut(text, "]:"); ok && strings.HasPrefix(inside, "[") {
		address, err := parseAddress(inside[1:])
		if err != nil || !address.Is6() {
			return Port{}, bad(fmt.Sprintf("%s is not an IPv6 address", quote(inside[1:])))
		}
		port.Address, numbers = address, after
	} else if strings.Count(text, ":") == 2 {
		word, after, _ := strings.Cut(text, ":")
		address, err := parseAddress(word)
		if word == "localhost" {
			return Port{}, bad("an address is written as a number").WithHint("write 127.0.0.1:%s, or just %s", after, after)
		}
		if err != nil {
			return Port{}, bad(fmt.Sprintf("%s is not an IP address", quote(word)))
		}
		port.Address, numbers = address, after
	} else if strings.Count(text, ":") > 2 {
		return Port{}, bad("it has too many colons").
			WithHint("put an IPv6 address in brackets: [::1]:2222:22")
	}

	host, guest, ok := strings.Cut(numbers, ":")
	if !ok {
		return Port{}, bad("it names only one port")
	}
	for _, side := range []struct {
		word   string
		number *uint16
	}{{host, &port.Host}, {guest, &port.Guest}} {
		if side.word == auto && side.number == &port.Host {
			port.Auto = true
			continue
		}
		if from, to, ok := strings.Cut(side.word, "-"); ok && digits(from) && digits(to) {
			return Port{}, bad("a range of ports is not supported").WithHint("write one entry for each port")
		}
		n, err := strconv.ParseUint(side.word, 10, 16)
		if err != nil || n == 0 || !digits(side.word) || side.word[0] == '0' {
			return Port{}, bad(fmt.Sprintf("%s is not a port from 1 to 65535", quote(side.word)))
		}
		*side.number = uint16(n)
	}
	return port, nil
}

// String is the forward written out in full, such as 127.0.0.1:2222:22/tcp.
func (p Port) String() string {
	if p.Auto && p.Host == 0 {
		if p.Address.Is6() {
			return fmt.Sprintf("[%s]:%s:%d/%s", p.Address, auto, p.Guest, p.Protocol)
		}
		return fmt.Sprintf("%s:%s:%d/%s", p.Address, auto, p.Guest, p.Protocol)
	}
	return fmt.Sprintf("%s:%d/%s", netip.AddrPortFrom(p.Address, p.Host), p.Guest, p.Protocol)
}

// clashes reports whether both forwards would listen on the same port.
func (p Port) clashes(q Port) bool {
	return p.Host == q.Host && p.Host != 0 && p.Protocol == q.Protocol && p.Address.Is4() == q.Address.Is4() &&
		(p.Address == q.Address || p.Address.IsUnspecified() || q.Address.IsUnspecified())
}

func loopback() netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, 1}) }

// parseAddress takes an address that a host can listen on.
func parseAddress(s string) (netip.Addr, error) {
	address, err := netip.ParseAddr(s)
	if err == nil && (address.Zone() != "" || address.Is4In6() || address.IsMulticast()) {
		return netip.Addr{}, fmt.Errorf("%s cannot be listened on", quote(s))
	}
	return address, err
}

func digits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
