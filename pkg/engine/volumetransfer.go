package engine

import (
	"context"
	"io"

	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// ExportDataVolume writes a volume's file, which is a qcow2, to dst. A running guest's
// disk is never whole.
func (e *Engine) ExportDataVolume(ctx context.Context, machine, name string, dst io.Writer) (*DataVolumeInfo, error) {
	var found *DataVolumeInfo
	err := e.withVolume(ctx, machine, true, func() error {
		v, err := e.DataVolume(ctx, machine, name)
		if err != nil {
			return err
		}
		if v.Unfinished {
			return unfinished(machine, name)
		}
		for _, u := range v.Users {
			if u.Running {
				return fault.New(fault.Refused, "volume %s cannot be exported: domain %s runs with it, and a copy would not be whole", v, u.Domain).
					WithHint("vmctl stop %s, or take the volume out of the definition and run vmctl up", u.Domain)
			}
		}
		found = v
		return e.apply(ctx, &Plan{Machine: machine, Host: e.Host.URI, Ops: []Op{{
			Action: ActionReadVolume, Resource: v.Volume.Name, When: Now, total: int64(v.Volume.Allocation),
			run: func(ctx context.Context, e *Engine, sent report) error { return e.read(ctx, v.Volume.Name, dst, sent) },
		}}})
	})
	return found, err
}

func (e *Engine) read(ctx context.Context, file string, dst io.Writer, report report) error {
	src, err := e.Host.Volumes.ReadVolume(ctx, file, 0)
	if err != nil {
		return err
	}
	// Close unblocks a Read that waits for the host.
	stop := context.AfterFunc(ctx, func() { _ = src.Close() })
	defer stop()
	defer func() { _ = src.Close() }()
	_, err = io.Copy(&counting{Writer: dst, report: report}, src)
	if ctx.Err() != nil {
		return &fault.Error{Kind: fault.Interrupted, Msg: "interrupted: the volume was not read to its end", Cause: context.Cause(ctx)}
	}
	return err
}

// counting reports what was written.
type counting struct {
	io.Writer
	sent   int64
	report report
}

func (c *counting) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.sent += int64(n)
	c.report(c.sent)
	return n, err
}

// ImportDataVolume makes a volume of a qcow2 file: size is what a guest sees of it, and
// length how long the file is. A marker stands beside the volume until all of it is there.
func (e *Engine) ImportDataVolume(ctx context.Context, machine, name string, src io.Reader, size spec.Size, length int64) error {
	return e.onVolume(ctx, machine, func() error {
		if err := e.activatePool(ctx, machine); err != nil {
			return err
		}
		var ops []Op
		file, marker := DataVolume(machine, name), importMarker(machine, name)
		switch v, err := e.DataVolume(ctx, machine, name); {
		case err == nil && !v.Unfinished:
			return fault.New(fault.Refused, "volume %s exists already: it is %s", v, v.Volume.Capacity).
				WithHint("vmctl volume rm %s deletes it, with what is in it", v)
		case err == nil && v.Volume.Name == file:
			ops = append(ops, deleteVolume(file, "an earlier import was cut short"))
		case err != nil && !fault.Is(err, fault.NotFound):
			return err
		}
		marked, err := found(e.Host.Volumes.Volume(ctx, marker))
		if err != nil {
			return err
		}
		if marked == nil {
			ops = append(ops, createVolume(marker, "raw", 0, "until the import is whole"))
		}
		ops = append(ops, createVolume(file, dataFormat, size, "not there: "+size.String()), Op{
			Action: ActionUploadVolume, Resource: file, When: Now, total: length,
			run: func(ctx context.Context, e *Engine, sent report) error {
				return e.Host.Volumes.Upload(ctx, file, src, length, sent)
			},
		}, deleteVolume(marker, "the import is whole"))
		return e.apply(ctx, &Plan{Machine: machine, Host: e.Host.URI, Ops: ops})
	})
}
