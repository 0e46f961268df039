package libvirt

import (
	"context"
	"io"

	golibvirt "libvirt.org/go/libvirt"
)

// OpenConsole attaches to the first serial console.
func (c *conn) OpenConsole(ctx context.Context, domain string, force bool) (io.ReadWriteCloser, error) {
	doing := "attach to the console of domain " + quoteName(domain)
	why := func(err error) error { return c.explain(doing, err) }
	st, err := openStream(ctx, c, doing, why, func(l *golibvirt.Connect, s *golibvirt.Stream) error {
		var flags golibvirt.DomainConsoleFlags
		if force {
			flags = golibvirt.DOMAIN_CONSOLE_FORCE
		}
		return withDomain(l, domain, func(d *golibvirt.Domain) error { return d.OpenConsole("", s, flags) })
	})
	if err != nil {
		return nil, err
	}
	return st, nil
}
