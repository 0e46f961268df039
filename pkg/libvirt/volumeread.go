package libvirt

import (
	"context"
	"io"

	golibvirt "libvirt.org/go/libvirt"

	"vmctl/pkg/engine"
)

// ReadVolume streams a volume's file from an offset to its end.
func (c *conn) ReadVolume(ctx context.Context, name string, offset int64) (io.ReadCloser, error) {
	st, err := c.download(ctx, name, offset, 0)
	if err != nil {
		return nil, err
	}
	return st, nil
}

// ReadRange reads a few bytes of a volume's file.
func (c *conn) ReadRange(ctx context.Context, name string, offset int64, length int) ([]byte, error) {
	st, err := c.download(ctx, name, offset, length)
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

// download streams a volume's file; a length of 0 is all of it. One that libvirt does not
// know may have appeared in the directory since, as the console's log does: then it looks again.
func (c *conn) download(ctx context.Context, name string, offset int64, length int) (*stream, error) {
	doing := "read volume " + quoteName(name)
	why := func(err error) error { return c.explain(doing, err) }
	return openStream(ctx, c, doing, why, func(l *golibvirt.Connect, s *golibvirt.Stream) error {
		download := func(v *golibvirt.StorageVol) error {
			if engine.IsLogVolume(name) {
				// libvirt looks for holes as it reads, and gives up on a file that changes meanwhile.
				return gone(v.Download(s, uint64(offset), uint64(length), 0))
			}
			// Holes do not travel; libvirt's client library makes zeros of them.
			err := v.Download(s, uint64(offset), uint64(length), golibvirt.STORAGE_VOL_DOWNLOAD_SPARSE_STREAM)
			if unknownFlags(err) { // libvirt < 3.4
				err = v.Download(s, uint64(offset), uint64(length), 0)
			}
			return gone(err)
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
