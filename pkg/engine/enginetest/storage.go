package enginetest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"path"
	"slices"
	"strings"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// volume is a file in the pool.
type volume struct {
	engine.Volume
	content []byte
	// hidden files appeared by themselves: libvirt sees them when it looks again.
	hidden bool
}

// seen is the volume as the host shows it.
func (v *volume) seen() engine.Volume {
	out := v.Volume
	out.Length = spec.Size(len(v.content))
	return out
}

// PlantVolume puts a file into the pool, as somebody else would have.
func (h *Host) PlantVolume(v engine.Volume, content []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if v.Path == "" {
		v.Path = path.Join(h.pool.Target, v.Name)
	}
	if v.Modified.IsZero() {
		v.Modified = h.now()
	}
	h.volumes[v.Name] = &volume{Volume: v, content: content}
}

// PutBack puts a file into the pool beside the host, which sees it when it looks again.
func (h *Host) PutBack(v engine.Volume, content []byte) {
	h.PlantVolume(v, content)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.volumes[v.Name].hidden = true
}

// StopPool makes the pool inactive, as virsh pool-destroy does: the files stay.
func (h *Host) StopPool() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pool.State = engine.PoolInactive
}

// VolumeNames are the names of all files in the pool.
func (h *Host) VolumeNames() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return sortedKeys(h.volumes)
}

// Pool implements engine.Pools.
func (h *Host) Pool(ctx context.Context) (engine.Pool, error) {
	return read(ctx, h, "Pool", nil, func() (engine.Pool, error) {
		out := h.pool
		if out.State == engine.PoolActive {
			out.Volumes = h.known("")
		}
		return out, nil
	})
}

// DefinePool implements engine.Pools.
func (h *Host) DefinePool(ctx context.Context) error {
	return change(ctx, h, "DefinePool", nil, func() error {
		if h.pool.State != engine.PoolAbsent {
			return fault.New(fault.Refused, "cannot define storage pool %s: one of the same name exists already", h.pool.Name)
		}
		h.pool.State = engine.PoolInactive
		return nil
	})
}

func (h *Host) definedPool() error {
	if h.pool.State == engine.PoolAbsent {
		return fault.New(fault.NotFound, "cannot find storage pool %s", h.pool.Name)
	}
	return nil
}

func (h *Host) activePool() error {
	if err := h.definedPool(); err != nil {
		return err
	}
	if h.pool.State != engine.PoolActive {
		return fault.New(fault.Refused, "storage pool %s is not active", h.pool.Name)
	}
	return nil
}

// BuildPool implements engine.Pools.
func (h *Host) BuildPool(ctx context.Context) error {
	return change(ctx, h, "BuildPool", nil, func() error {
		err := h.definedPool()
		h.built = h.built || err == nil
		return err
	})
}

// StartPool implements engine.Pools.
func (h *Host) StartPool(ctx context.Context) error {
	return change(ctx, h, "StartPool", nil, func() error {
		if err := h.definedPool(); err != nil {
			return err
		}
		if h.pool.State == engine.PoolActive {
			return fault.New(fault.Refused, "cannot start storage pool %s: it is running already", h.pool.Name)
		}
		if !h.built {
			return fault.New(fault.Other, "cannot start storage pool %s: its directory %s is not there", h.pool.Name, h.pool.Target)
		}
		h.pool.State, h.pool.Available = engine.PoolActive, 100*spec.GiB
		h.look()
		return nil
	})
}

// AutostartPool implements engine.Pools.
func (h *Host) AutostartPool(ctx context.Context) error {
	return change(ctx, h, "AutostartPool", nil, func() error {
		err := h.definedPool()
		h.pool.Autostart = h.pool.Autostart || err == nil
		return err
	})
}

// RefreshPool implements engine.Pools.
func (h *Host) RefreshPool(ctx context.Context) error {
	_, err := read(ctx, h, "RefreshPool", nil, func() (struct{}, error) {
		err := h.activePool()
		if err == nil {
			h.look()
		}
		return struct{}{}, err
	})
	return err
}

func (h *Host) findVolume(name string) (*volume, error) {
	if err := h.activePool(); err != nil {
		return nil, err
	}
	if v := h.volumes[name]; v != nil && !v.hidden {
		return v, nil
	}
	return nil, fault.New(fault.NotFound, "cannot find volume %s", name)
}

// look makes the host see files that appeared by themselves.
func (h *Host) look() {
	for _, v := range h.volumes {
		v.hidden = false
		if backing, ok := lying(v.content); ok && v.Format == "qcow2" {
			v.Backing = backing
		}
	}
}

// Volume implements engine.Volumes.
func (h *Host) Volume(ctx context.Context, name string) (*engine.Volume, error) {
	return read(ctx, h, "Volume", on(name), func() (*engine.Volume, error) {
		v, err := h.findVolume(name)
		if err != nil {
			return nil, err
		}
		out := v.seen()
		return &out, nil
	})
}

// ListVolumes implements engine.Volumes.
func (h *Host) ListVolumes(ctx context.Context, prefix string) ([]engine.Volume, error) {
	return read(ctx, h, "ListVolumes", on(prefix), func() ([]engine.Volume, error) {
		if err := h.activePool(); err != nil {
			return nil, err
		}
		h.look()
		var out []engine.Volume
		for _, v := range h.volumes {
			if strings.HasPrefix(v.Name, prefix) {
				out = append(out, v.seen())
			}
		}
		slices.SortFunc(out, func(a, b engine.Volume) int { return cmp.Compare(a.Name, b.Name) })
		return out, nil
	})
}

// KnownVolumes implements engine.Volumes.
func (h *Host) KnownVolumes(ctx context.Context, prefix string) ([]string, error) {
	return read(ctx, h, "KnownVolumes", on(prefix), func() ([]string, error) {
		if err := h.activePool(); err != nil {
			return nil, err
		}
		return h.known(prefix), nil
	})
}

func (h *Host) known(prefix string) []string {
	var names []string
	for _, v := range h.volumes {
		if strings.HasPrefix(v.Name, prefix) && !v.hidden {
			names = append(names, v.Name)
		}
	}
	slices.Sort(names)
	return names
}

// CreateOverlay implements engine.Volumes.
func (h *Host) CreateOverlay(ctx context.Context, name string, size spec.Size, base engine.Base) error {
	return change(ctx, h, "CreateOverlay", on(name, size), func() error {
		if size == 0 {
			size = base.Size
		}
		return h.create(engine.Volume{Name: name, Format: "qcow2", Capacity: size, Backing: base.Path, BackingFormat: base.Format})
	})
}

// CreateVolume implements engine.Volumes.
func (h *Host) CreateVolume(ctx context.Context, name, format string, size spec.Size) error {
	return change(ctx, h, "CreateVolume", on(name, format, size), func() error {
		return h.create(engine.Volume{Name: name, Format: format, Capacity: size})
	})
}

func (h *Host) create(v engine.Volume) error {
	if err := h.activePool(); err != nil {
		return err
	}
	if h.volumes[v.Name] != nil {
		return fault.New(fault.Refused, "cannot create volume %s: one of the same name exists already", v.Name)
	}
	v.Path, v.Modified = path.Join(h.pool.Target, v.Name), h.now()
	made := &volume{Volume: v}
	if v.Backing != "" {
		made.content = newQcow2(v.Backing)
	}
	h.volumes[v.Name] = made
	return nil
}

// Upload implements engine.Volumes.
func (h *Host) Upload(ctx context.Context, name string, src io.Reader, size int64, progress func(sent int64)) error {
	return h.upload(ctx, on(name, size), name, src, 0, size, progress)
}

// UploadRange implements engine.Volumes.
func (h *Host) UploadRange(ctx context.Context, name string, src io.Reader, offset, length int64, progress func(sent int64)) error {
	return h.upload(ctx, on(name, length), name, src, offset, length, progress)
}

// buffered is how much of an upload is written at once.
const buffered = 64 << 10

// upload reads the source outside of the host's lock; when ctx ends, or the connection
// is cut, what was sent so far stays in the volume.
func (h *Host) upload(ctx context.Context, args []any, name string, src io.Reader, offset, size int64, progress func(sent int64)) error {
	var v *volume
	err := change(ctx, h, "Upload", args, func() (err error) {
		v, err = h.findVolume(name)
		return err
	})
	if err != nil {
		return err
	}
	buffer := make([]byte, buffered)
	for sent := int64(0); sent < size; {
		if ctx.Err() != nil {
			return &fault.Error{Kind: fault.Interrupted, Msg: "interrupted: did not upload volume " + name, Cause: context.Cause(ctx)}
		}
		n, err := src.Read(buffer[:min(size-sent, int64(len(buffer)))])
		if h.write(v, offset+sent, buffer[:n]) != nil {
			return h.unreachable()
		}
		sent += int64(n)
		if progress != nil && n > 0 {
			progress(sent)
		}
		if errors.Is(err, io.EOF) && sent < size {
			return fault.New(fault.Build, "the image ended after %d of %d bytes", offset+sent, offset+size)
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return fault.New(fault.Build, "the image cannot be read: %w", err)
		}
	}
	return h.write(v, offset+size, nil)
}

// write changes a volume's file, which may be gone: nobody sees that then.
func (h *Host) write(v *volume, at int64, data []byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cut {
		return h.unreachable()
	}
	if end := at + int64(len(data)); end > int64(len(v.content)) {
		v.content = append(v.content, make([]byte, end-int64(len(v.content)))...)
	}
	copy(v.content[at:], data)
	v.Allocation, v.Modified = spec.Size(len(v.content)), h.now()
	return nil
}

// ResizeVolume implements engine.Volumes.
func (h *Host) ResizeVolume(ctx context.Context, name string, size spec.Size) error {
	return change(ctx, h, "ResizeVolume", on(name, size), func() error {
		v, err := h.findVolume(name)
		if err != nil {
			return err
		}
		if size < v.Capacity {
			return fault.New(fault.Refused, "cannot resize volume %s: it would become smaller", name)
		}
		v.Capacity = size
		return nil
	})
}

// DeleteVolume implements engine.Volumes.
func (h *Host) DeleteVolume(ctx context.Context, name string) error {
	return change(ctx, h, "DeleteVolume", on(name), func() error {
		_, err := h.findVolume(name)
		if err == nil {
			delete(h.volumes, name)
		}
		return err
	})
}

// ReadVolume implements engine.Volumes.
func (h *Host) ReadVolume(ctx context.Context, name string, offset int64) (io.ReadCloser, error) {
	return h.readFile(ctx, "ReadVolume", name, offset)
}

func (h *Host) readFile(ctx context.Context, method, name string, offset int64) (io.ReadCloser, error) {
	return read(ctx, h, method, on(name, offset), func() (io.ReadCloser, error) {
		h.look()
		v, err := h.findVolume(name)
		if err != nil {
			return nil, err
		}
		content := v.content[min(max(offset, 0), int64(len(v.content))):]
		return io.NopCloser(bytes.NewReader(slices.Clone(content))), nil
	})
}

// ReadLog implements engine.Volumes.
func (h *Host) ReadLog(ctx context.Context, name string, offset int64) (io.ReadCloser, error) {
	return h.readFile(ctx, "ReadLog", name, offset)
}

// ReadRange implements engine.Volumes.
func (h *Host) ReadRange(ctx context.Context, name string, offset int64, length int) ([]byte, error) {
	return read(ctx, h, "ReadRange", on(name, offset), func() ([]byte, error) {
		v, err := h.findVolume(name)
		if err != nil {
			return nil, err
		}
		rest := v.content[min(max(offset, 0), int64(len(v.content))):]
		return slices.Clone(rest[:min(length, len(rest))]), nil
	})
}
