package libvirt

import (
	"context"
	"os"
	"time"

	golibvirt "libvirt.org/go/libvirt"
)

// Empty removes all domains and the pool with its files, as no caller of the package may.
func Empty(ctx context.Context, uri string) error {
	_, closer, err := Open(ctx, uri)
	if err != nil {
		return err
	}
	c := closer.(*conn)
	defer func() { _ = c.Close() }()
	domains, err := c.l.ListAllDomains(0)
	if err != nil {
		return err
	}
	defer free(domains)
	for i := range domains {
		_ = domains[i].Destroy()
		name, err := domains[i].GetName()
		if err != nil {
			return err
		}
		if err := c.UndefineDomain(ctx, name); err != nil && !absent(err) {
			return err
		}
	}
	err = c.withPool(c.l, func(p *golibvirt.StoragePool) error {
		_ = p.Destroy()
		return p.Undefine()
	})
	if err != nil && !absent(err) {
		return err
	}
	return os.RemoveAll(c.target)
}

// WithPulse sets how often a host that is waited for is looked after, and how long it may be silent.
func WithPulse(beat, patience time.Duration) Option {
	return func(c *conn) { c.pulse.beat, c.pulse.patience = beat, patience }
}
