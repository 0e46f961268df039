package cli

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"

	"vmctl/pkg/spec"
)

// port is a forward in JSON.
type port struct {
	Address  string `json:"address"`
	Host     uint16 `json:"host"`
	Guest    uint16 `json:"guest"`
	Protocol string `json:"protocol"`
	// Auto says that vmctl chose Host; it is 0 before that.
	Auto bool `json:"auto"`
}

func portsOf(ports []spec.Port) []port {
	all := make([]port, len(ports))
	for i, p := range ports {
		all[i] = port{p.Address.String(), p.Host, p.Guest, p.Protocol, p.Auto}
	}
	return all
}

// String is the forward for people: "127.0.0.1:8080 → 80".
func (p port) String() string {
	s := fmt.Sprintf("%s → %d", p.listen(), p.Guest)
	if p.Protocol != "tcp" {
		s += "/" + p.Protocol
	}
	return s
}

func (p port) listen() string {
	if p.Host == 0 {
		return "a port chosen by vmctl up"
	}
	if a, err := netip.ParseAddr(p.Address); err == nil {
		return netip.AddrPortFrom(a, p.Host).String()
	}
	return fmt.Sprintf("%s:%d", p.Address, p.Host)
}

// short is the forward for a table: "2222→22", with the address when it is not this host's own.
func (p port) short() string {
	s := fmt.Sprintf("%d→%d", p.Host, p.Guest)
	if p.Host == 0 {
		s = fmt.Sprintf("auto→%d", p.Guest)
	}
	if p.Protocol != "tcp" {
		s += "/" + p.Protocol
	}
	if a, err := netip.ParseAddr(p.Address); err == nil && !a.IsLoopback() {
		s = a.String() + ":" + s
	}
	return s
}

// dial is the address to connect to for one that is listened on.
func dial(listen string) string {
	if a, err := netip.ParseAddr(listen); err == nil && a.IsUnspecified() {
		if a.Is6() {
			return "::1"
		}
		return "127.0.0.1"
	}
	return listen
}

// portFree says whether a forward's port of this machine can be listened on now.
func portFree(ctx context.Context, p spec.Port) bool {
	address := netip.AddrPortFrom(p.Address, p.Host).String()
	var (
		config net.ListenConfig
		open   io.Closer
		err    error
	)
	if p.Protocol == spec.UDP {
		open, err = config.ListenPacket(ctx, "udp", address)
	} else {
		open, err = config.Listen(ctx, "tcp", address)
	}
	return err == nil && open.Close() == nil
}
