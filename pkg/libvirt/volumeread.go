package libvirt

import (
	"context"
	"io"

	golibvirt "libvirt.org/go/libvirt"
)

// ReadVolume streams a volume's file. One that libvirt does not know may have
// appeared in the directory since, as the console's log does: then it looks again.
func (c *conn) ReadVolume(ctx context.Context, name string, offset int64) (io.ReadCloser, error) {
	doing := "read volume " + quoteName(name)
	why := func(err error) error { return c.explain(doing, err) }
	st, err := openStream(ctx, c, doing, why, func(l *golibvirt.Connect, s *golibvirt.Stream) error {
		download := func(v *golibvirt.StorageVol) error { return gone(v.Download(s, uint64(offset), 0, 0)) }
		err := c.withVolume(l, name, download)
		if !absent(err) {
			return err
		}
		if err := c.withPool(l, refresh); err != nil {
			return err
		}
		return c.withVolume(l, name, download)
	})
	if err != nil {
		return nil, err
	}
	return st, nil
}
