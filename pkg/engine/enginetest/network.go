package enginetest

import (
	"cmp"
	"context"
	"net/netip"
	"slices"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
)

// Capabilities implements engine.Inspector.
func (h *Host) Capabilities(ctx context.Context) (engine.Capabilities, error) {
	return read(ctx, h, "Capabilities", nil, func() (engine.Capabilities, error) {
		return h.options.Capabilities, nil
	})
}

// Versions implements engine.Inspector.
func (h *Host) Versions(ctx context.Context) (engine.Versions, error) {
	return read(ctx, h, "Versions", nil, func() (engine.Versions, error) {
		return engine.Versions{Libvirt: "9.0.0", Hypervisor: cmp.Or(h.options.Hypervisor, "QEMU 7.2.0")}, nil
	})
}

// Devices implements engine.Inspector.
func (h *Host) Devices(ctx context.Context) ([]engine.Device, error) {
	return read(ctx, h, "Devices", nil, func() ([]engine.Device, error) { return slices.Clone(h.options.Devices), nil })
}

// subnet is what every network of the fake serves.
func subnet() netip.Prefix { return netip.MustParsePrefix("192.168.122.1/24") }

// DHCP implements engine.Networks.
func (h *Host) DHCP(ctx context.Context, name string) (engine.DHCP, error) {
	return read(ctx, h, "DHCP", on(name), func() (engine.DHCP, error) {
		if _, ok := h.networks[name]; !ok {
			return engine.DHCP{}, fault.New(fault.NotFound, "cannot find network %s", name)
		}
		return engine.DHCP{Subnets: []netip.Prefix{subnet()}, Reserved: slices.Clone(h.reserved[name])}, nil
	})
}

// Reserve implements engine.Networks.
func (h *Host) Reserve(ctx context.Context, name string, r engine.Reservation) error {
	return change(ctx, h, "Reserve", on(name, r.MAC, r.Address), func() error {
		if _, ok := h.networks[name]; !ok {
			return fault.New(fault.NotFound, "cannot find network %s", name)
		}
		for _, other := range h.reserved[name] {
			if other.MAC == r.MAC || other.Address == r.Address {
				return fault.New(fault.Refused, "cannot reserve %s: it is reserved already", r.Address)
			}
		}
		h.reserved[name] = append(h.reserved[name], r)
		return nil
	})
}

// Release implements engine.Networks.
func (h *Host) Release(ctx context.Context, name string, r engine.Reservation) error {
	return change(ctx, h, "Release", on(name, r.MAC, r.Address), func() error {
		i := slices.Index(h.reserved[name], r)
		if i < 0 {
			return fault.New(fault.NotFound, "cannot release %s: it is not reserved", r.Address)
		}
		h.reserved[name] = slices.Delete(h.reserved[name], i, i+1)
		return nil
	})
}

// Reserved are the addresses that a network keeps.
func (h *Host) Reserved(network string) []engine.Reservation {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.reserved[network])
}

// Network implements engine.Networks.
func (h *Host) Network(ctx context.Context, name string) (engine.Network, error) {
	return read(ctx, h, "Network", on(name), func() (engine.Network, error) {
		active, ok := h.networks[name]
		if !ok {
			return engine.Network{}, fault.New(fault.NotFound, "cannot find network %s", name)
		}
		return engine.Network{Name: name, Active: active}, nil
	})
}

// ListNetworks implements engine.Networks.
func (h *Host) ListNetworks(ctx context.Context) ([]engine.Network, error) {
	return read(ctx, h, "ListNetworks", nil, func() ([]engine.Network, error) {
		out := []engine.Network{}
		for _, name := range sortedKeys(h.networks) {
			out = append(out, engine.Network{Name: name, Active: h.networks[name]})
		}
		return out, nil
	})
}

// StartNetwork implements engine.Networks.
func (h *Host) StartNetwork(ctx context.Context, name string) error {
	return change(ctx, h, "StartNetwork", on(name), func() error {
		active, ok := h.networks[name]
		switch {
		case !ok:
			return fault.New(fault.NotFound, "cannot find network %s", name)
		case active:
			return fault.New(fault.Refused, "cannot start network %s: it is active already", name)
		}
		h.networks[name] = true
		return nil
	})
}

// Addresses implements engine.Networks.
func (h *Host) Addresses(ctx context.Context, name string) ([]string, error) {
	return read(ctx, h, "Addresses", on(name), func() ([]string, error) {
		d, err := h.find(name)
		if err != nil || d.state != engine.StateRunning {
			return nil, err
		}
		return slices.Clone(d.guest.Addresses), nil
	})
}
