package libvirt

import (
	"context"
	"errors"
	"io"
	"strings"

	golibvirt "libvirt.org/go/libvirt"

	"vmctl/pkg/fault"
)

// OpenConsole attaches to the first serial console.
func (c *conn) OpenConsole(ctx context.Context, domain string, force bool) (io.ReadWriteCloser, error) {
	doing := "attach to the console of domain " + quoteName(domain)
	why := func(err error) error { return c.consoleEnd(domain, err) }
	st, err := openStream(ctx, c, doing, why, func(l *golibvirt.Connect, s *golibvirt.Stream) error {
		var flags golibvirt.DomainConsoleFlags
		if force {
			flags = golibvirt.DOMAIN_CONSOLE_FORCE
		}
		return c.withDomain(l, domain, func(d *golibvirt.Domain) error { return d.OpenConsole("", s, flags) })
	})
	if busy, ok := errors.AsType[*fault.Error](err); ok && strings.HasSuffix(busy.Msg, attachedAlready) {
		return nil, busy.WithHint("vmctl console --force %s takes it over", domain)
	}
	return st, err
}

// consoleEnd says why a console broke off. libvirt says the same when the guest went
// off and when another viewer was let in by force: whether the guest still runs tells.
func (c *conn) consoleEnd(domain string, err error) error {
	if !streamBroke(err) {
		return c.explain("read the console of domain "+quoteName(domain), err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), silencePatience)
	defer cancel()
	d, askErr := c.Domain(ctx, domain)
	switch {
	case fault.Is(askErr, fault.NotFound):
		return io.EOF
	case askErr != nil:
		return askErr
	case !d.State.Active():
		return io.EOF
	}
	return because(fault.Refused, "somebody else took over the console of domain "+quoteName(domain), err).
		WithHint("vmctl console --force %s takes it back", domain)
}
