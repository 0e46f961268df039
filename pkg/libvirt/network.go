package libvirt

import (
	"cmp"
	"context"
	"slices"

	golibvirt "libvirt.org/go/libvirt"

	"vmctl/pkg/engine"
)

// Network looks a network up.
func (c *conn) Network(ctx context.Context, name string) (engine.Network, error) {
	return read(ctx, c, "read network "+quoteName(name), func(l *golibvirt.Connect) (out engine.Network, err error) {
		err = withNetwork(l, name, func(n *golibvirt.Network) error {
			out, err = readNetwork(n)
			return err
		})
		return out, err
	})
}

func withNetwork(l *golibvirt.Connect, name string, f func(*golibvirt.Network) error) error {
	n, err := l.LookupNetworkByName(name)
	if err != nil {
		return err
	}
	defer func() { _ = n.Free() }()
	return f(n)
}

func readNetwork(n *golibvirt.Network) (out engine.Network, err error) {
	if out.Name, err = n.GetName(); err != nil {
		return out, err
	}
	out.Active, err = n.IsActive()
	return out, err
}

// ListNetworks reads all networks, also those that are not active.
func (c *conn) ListNetworks(ctx context.Context) ([]engine.Network, error) {
	return read(ctx, c, "list the networks", func(l *golibvirt.Connect) ([]engine.Network, error) {
		all, err := l.ListAllNetworks(0)
		if err != nil {
			return nil, err
		}
		defer func() {
			for i := range all {
				_ = all[i].Free()
			}
		}()
		out := make([]engine.Network, 0, len(all))
		for i := range all {
			n, err := readNetwork(&all[i])
			if absent(err) {
				continue
			}
			if err != nil {
				return nil, err
			}
			out = append(out, n)
		}
		slices.SortFunc(out, func(a, b engine.Network) int { return cmp.Compare(a.Name, b.Name) })
		return out, nil
	})
}

// StartNetwork makes a defined network active.
func (c *conn) StartNetwork(ctx context.Context, name string) error {
	return change(ctx, c, "start network "+quoteName(name), func(l *golibvirt.Connect) error {
		return withNetwork(l, name, (*golibvirt.Network).Create)
	})
}
