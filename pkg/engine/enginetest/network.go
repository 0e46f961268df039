package enginetest

import (
	"context"
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
