package libvirt

import (
	"context"
	"io"

	golibvirt "libvirt.org/go/libvirt"
)

// ReadVolume streams a volume's file from an offset to its end.
func (c *conn) ReadVolume(ctx context.Context, name string, offset int64) (io.ReadCloser, error) {
	return c.download(ctx, name, offset, 0, true)
}

// ReadLog leaves the holes in: libvirt looks for them as it reads, and gives up on a file that
// changes meanwhile.
func (c *conn) ReadLog(ctx context.Context, name string, offset int64) (io.ReadCloser, error) {
	return c.download(ctx, name, offset, 0, false)
}

// ReadRange reads a few bytes of a volume's file.
func (c *conn) ReadRange(ctx context.Context, name string, offset int64, length int) ([]byte, error) {
	st, err := c.download(ctx, name, offset, length, true)
	if err != nil {
		return nil, err
	}
	// Close unblocks a Read that waits for the host.
	stop := context.AfterFunc(ctx, func() { _ = st.Close() })
	defer stop()
	defer func() { _ = st.Close() }()
	data, err := io.ReadAll(io.LimitReader(st, int64(length)))
	if ctx.Err() != nil {
		return nil, cut(ctx, "read volume "+quoteName(name))
	}
	return data, err
}

// download streams a volume's file; a length of 0 is all of it, and holes do not travel where it
// is sparse. One that libvirt does not
// know may have appeared in the directory since, as the console's log does: then it looks again.
func (c *conn) download(ctx context.Context, name string, offset int64, length int, sparse bool) (io.ReadCloser, error) {
	doing := "read volume " + quoteName(name)
	why := func(err error) error { return c.explain(doing, err) }
	return openStream(ctx, c, doing, why, func(l *golibvirt.Connect, s *golibvirt.Stream) error {
		download := func(v *golibvirt.StorageVol) error {
			if sparse {
				// libvirt's client library makes zeros of the holes.
				err := v.Download(s, uint64(offset), uint64(length), golibvirt.STORAGE_VOL_DOWNLOAD_SPARSE_STREAM)
				if !unknownFlags(err) { // libvirt < 3.4
					return gone(err)
				}
			}
			return gone(v.Download(s, uint64(offset), uint64(length), 0))
		}
		err := c.withVolume(l, name, download)
		if !absent(err) {
			return err
		}
		if err := c.withPool(l, c.refresh); err != nil {
			return err
		}
		return c.withVolume(l, name, download)
	})
}
