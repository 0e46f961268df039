package libvirt

import (
	"context"
	"io"
	"strings"

	golibvirt "libvirt.org/go/libvirt"

	"vmctl/pkg/fault"
)

// OpenChannel attaches to a virtio port of a running guest.
func (c *conn) OpenChannel(ctx context.Context, domain, channel string) (io.ReadWriteCloser, error) {
	doing := "attach to port " + quoteName(channel) + " of domain " + quoteName(domain)
	why := func(err error) error {
		// The second is said when QEMU ended before it had read everything.
		if streamBroke(err) || strings.Contains(text(err), "cannot read from stream: Connection reset by peer") {
			return io.EOF
		}
		return c.explain(doing, err)
	}
	return openStream(ctx, c, doing, why, func(l *golibvirt.Connect, s *golibvirt.Stream) error {
		return c.withDomain(l, domain, func(d *golibvirt.Domain) error {
			running, err := readXML(d, 0)
			if err != nil {
				return err
			}
			for _, there := range running.Channels {
				if there.Target.Name == channel {
					return d.OpenChannel(channel, s, 0)
				}
			}
			return fault.New(fault.NotFound, "domain %s has no port %s", quoteName(domain), quoteName(channel))
		})
	})
}
