package engine

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// reserved is an address that a network's DHCP server keeps for a card of the machine.
type reserved struct {
	network string
	Reservation
}

// reservations are those that cards ask for.
func reservations(machine string, cards []spec.Interface) []reserved {
	var all []reserved
	for i, card := range cards {
		if card.Link == spec.LinkNetwork && card.Address.IsValid() {
			all = append(all, reserved{card.Name, Reservation{card.CardMAC(UUID(machine), i), card.Address}})
		}
	}
	return all
}

// recorded are the reservations that the machine was made with.
func recorded(d *Domain) []reserved {
	if d == nil || d.Record == nil {
		return nil
	}
	return reservations(d.Name, d.Record.Interfaces)
}

// observeDHCP reads what the servers keep that the machine has, or had, something of.
func (e *Engine) observeDHCP(ctx context.Context, w Wanted, s *snapshot) error {
	s.dhcp = map[string]DHCP{}
	for _, r := range append(reservations(w.Machine.Name, w.Machine.Interfaces), recorded(s.domain)...) {
		if _, ok := s.dhcp[r.network]; ok {
			continue
		}
		dhcp, err := e.Host.Networks.DHCP(ctx, r.network)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
		s.dhcp[r.network] = dhcp
	}
	return nil
}

// release plans to give back what the machine was made with and does not ask for any
// more, as long as the domain's metadata still says what that is.
func (p *planner) release() {
	wanted := reservations(p.w.Machine.Name, p.w.Machine.Interfaces)
	for _, r := range recorded(p.s.domain) {
		if !slices.Contains(wanted, r) && slices.Contains(p.s.dhcp[r.network].Reserved, r.Reservation) {
			p.add(releasing(r, "no longer asked for", true))
		}
	}
}

// reserve plans the reservations that are asked for, after the definition that
// remembers them.
func (p *planner) reserve() error {
	for _, r := range reservations(p.w.Machine.Name, p.w.Machine.Interfaces) {
		dhcp := p.s.dhcp[r.network]
		if slices.Contains(dhcp.Reserved, r.Reservation) {
			continue
		}
		if err := free(dhcp, r, recorded(p.s.domain)); err != nil {
			return err
		}
		p.add(op(ActionReserve, r.network, fmt.Sprintf("%s for %s", r.Address, r.MAC),
			func(ctx context.Context, e *Engine) error {
				return e.Host.Networks.Reserve(ctx, r.network, r.Reservation)
			},
			func(ctx context.Context, e *Engine) error {
				return e.Host.Networks.Release(ctx, r.network, r.Reservation)
			}))
	}
	return nil
}

// free says why a server cannot keep an address for a card, or nil. What the machine
// itself was made with has been given back by then.
func free(dhcp DHCP, r reserved, own []reserved) error {
	switch {
	case len(dhcp.Subnets) == 0:
		return fault.New(fault.Refused, "the address %s cannot be fixed: network %s has no DHCP server of libvirt's", r.Address, r.network).
			WithHint("take the address out of the definition, and set it inside the guest")
	case !slices.ContainsFunc(dhcp.Subnets, func(s netip.Prefix) bool { return s.Contains(r.Address) }):
		return fault.New(fault.Refused, "the address %s cannot be fixed: network %s has %s", r.Address, r.network, dhcp.Subnets[0].Masked()).
			WithHint("choose an address in it")
	}
	for _, other := range dhcp.Reserved {
		if slices.Contains(own, reserved{r.network, other}) {
			continue
		}
		if other.Address == r.Address {
			return fault.New(fault.Refused, "the address %s of network %s is kept for another card, %s", r.Address, r.network, other.MAC).
				WithHint("choose another address; virsh net-dumpxml %s shows those that are taken", r.network)
		}
		if other.MAC == r.MAC {
			return fault.New(fault.Refused, "network %s keeps %s for the card %s, and vmctl did not ask for it", r.network, other.Address, r.MAC).
				WithHint("write address: %s, or give the card another mac", other.Address)
		}
	}
	return nil
}

// releasing makes the operation that gives an address back.
func releasing(r reserved, cause string, undo bool) Op {
	o := op(ActionRelease, r.network, fmt.Sprintf("%s of %s: %s", r.Address, r.MAC, cause),
		func(ctx context.Context, e *Engine) error {
			err := e.Host.Networks.Release(ctx, r.network, r.Reservation)
			if fault.Is(err, fault.NotFound) {
				return nil // somebody else was quicker
			}
			return err
		}, nil)
	if undo {
		o.undo = func(ctx context.Context, e *Engine) error {
			return e.Host.Networks.Reserve(ctx, r.network, r.Reservation)
		}
	}
	return o
}

// releasing are the operations that give back all that the domain was made with.
func (e *Engine) releasing(ctx context.Context, d *Domain) ([]Op, error) {
	var ops []Op
	for _, r := range recorded(d) {
		dhcp, err := e.Host.Networks.DHCP(ctx, r.network)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return nil, err
		}
		if slices.Contains(dhcp.Reserved, r.Reservation) {
			ops = append(ops, releasing(r, "its machine goes", false))
		}
	}
	return ops, nil
}
