package engine

import (
	"context"
	"net/netip"
)

// Network is a libvirt network.
type Network struct {
	Name   string
	Active bool
}

// Lease is an address that the host's DHCP server gave out.
type Lease struct {
	MAC, Address, Hostname string
}

// Reservation is an address that a DHCP server keeps for a card.
type Reservation struct {
	// MAC is the card's, in small letters.
	MAC     string
	Address netip.Addr
}

// DHCP is what a network's DHCP server gives out.
type DHCP struct {
	// Subnets are those that it serves; none when the network has no such server.
	Subnets []netip.Prefix
	// Reserved are the addresses that it keeps.
	Reserved []Reservation
}

// Networks reads and starts networks.
type Networks interface {
	Network(ctx context.Context, name string) (Network, error)
	ListNetworks(ctx context.Context) ([]Network, error)
	StartNetwork(ctx context.Context, name string) error
	// DHCP reads what a network's DHCP server gives out.
	DHCP(ctx context.Context, network string) (DHCP, error)
	// Reserve makes the DHCP server keep an address for a card, from now on (virNetworkUpdate,
	// also of the network that is active).
	Reserve(ctx context.Context, network string, r Reservation) error
	// Release undoes Reserve.
	Release(ctx context.Context, network string, r Reservation) error
	// Addresses are the guest's: first those that the host's DHCP server gave out, then what
	// its agent says besides.
	Addresses(ctx context.Context, domain string) ([]string, error)
}
