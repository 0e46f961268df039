package enginetest

import (
	"bytes"
	"context"
	"io"
	"time"

	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

func reader(b []byte) io.Reader { return bytes.NewReader(b) }

func poolLife(s *suite) {
	ctx, pools := s.Context(), s.host.Pools
	p, err := pools.Pool(ctx)
	s.ok(err)
	require.Equal(s, engine.PoolAbsent, p.State)
	require.Equal(s, "vmctl", p.Name)
	require.NotEmpty(s, p.Target, "an absent pool says where it would be")

	s.is(fault.NotFound, pools.BuildPool(ctx), "building an absent pool")
	s.is(fault.NotFound, pools.StartPool(ctx), "starting an absent pool")

	s.ok(pools.DefinePool(ctx))
	p, err = pools.Pool(ctx)
	s.ok(err)
	require.Equal(s, engine.PoolInactive, p.State)
	require.False(s, p.Autostart)

	s.ok(pools.BuildPool(ctx))
	s.ok(pools.BuildPool(ctx))
	s.ok(pools.AutostartPool(ctx))
	s.ok(pools.AutostartPool(ctx))
	p, err = pools.Pool(ctx)
	s.ok(err)
	require.True(s, p.Autostart)
	s.ok(pools.StartPool(ctx))
	p, err = pools.Pool(ctx)
	s.ok(err)
	require.Equal(s, engine.PoolActive, p.State)
	require.Empty(s, p.Volumes)
	require.NotZero(s, p.Available)
	s.is(fault.Refused, pools.StartPool(ctx), "starting an active pool")
}

func volumeNames(s *suite) {
	ctx, volumes := s.Context(), s.host.Volumes
	pool := s.makePool()
	_, err := volumes.Volume(ctx, "a.qcow2")
	s.is(fault.NotFound, err, "reading a volume that is not there")
	s.is(fault.NotFound, volumes.DeleteVolume(ctx, "a.qcow2"), "deleting a volume that is not there")

	s.ok(volumes.CreateVolume(ctx, "base.raw", "raw", spec.MiB))
	base := engine.Base{Path: pool.Target + "/base.raw", Format: "raw", Size: spec.MiB}
	s.ok(volumes.CreateOverlay(ctx, "a.qcow2", 3*spec.MiB, base))
	s.is(fault.Refused, volumes.CreateOverlay(ctx, "a.qcow2", 3*spec.MiB, base), "making a volume twice")
	s.is(fault.Refused, volumes.CreateVolume(ctx, "a.qcow2", "raw", spec.MiB), "making a volume twice")

	v, err := volumes.Volume(ctx, "a.qcow2")
	s.ok(err)
	require.Equal(s, "a.qcow2", v.Name)
	require.Equal(s, pool.Target+"/a.qcow2", v.Path)
	require.Equal(s, 3*spec.MiB, v.Capacity)
	require.Equal(s, "qcow2", v.Format)
	require.Equal(s, base.Path, v.Backing)
	require.Equal(s, base.Format, v.BackingFormat)

	all, err := volumes.ListVolumes(ctx, "")
	s.ok(err)
	require.Len(s, all, 2)
	require.Equal(s, "a.qcow2", all[0].Name)
	require.Equal(s, "base.raw", all[1].Name)
	some, err := volumes.ListVolumes(ctx, "ba")
	s.ok(err)
	require.Len(s, some, 1)
	require.Empty(s, some[0].Backing)

	names, err := volumes.KnownVolumes(ctx, "")
	s.ok(err)
	require.Equal(s, []string{"a.qcow2", "base.raw"}, names)
	pool, err = s.host.Pools.Pool(ctx)
	s.ok(err)
	require.Equal(s, names, pool.Volumes)

	s.ok(volumes.DeleteVolume(ctx, "a.qcow2"))
	names, err = volumes.KnownVolumes(ctx, "a")
	s.ok(err)
	require.Empty(s, names)
	_, err = volumes.Volume(ctx, "a.qcow2")
	s.is(fault.NotFound, err, "reading a volume that was deleted")
}

func volumeContent(s *suite) {
	s.needs(s.features.Content, "volumes with content")
	ctx, volumes := s.Context(), s.host.Volumes
	s.makePool()
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	size := int64(len(content))
	s.ok(volumes.CreateVolume(ctx, "v.raw", "raw", spec.Size(size)))

	var told int64
	s.ok(volumes.Upload(ctx, "v.raw", reader(content), size, func(sent int64) {
		require.Greater(s, sent, told, "progress only grows")
		told = sent
	}))
	require.Equal(s, size, told)
	require.Equal(s, content, s.content("v.raw", 0))
	filled, err := volumes.Volume(ctx, "v.raw")
	s.ok(err)
	require.WithinDuration(s, time.Now(), filled.Modified, time.Hour, "when it was filled, by the host's clock")
	require.Equal(s, content[size-5:], s.content("v.raw", size-5))

	s.is(fault.Build, volumes.Upload(ctx, "v.raw", reader(content[:10]), size, nil), "a source that ends early")
	s.is(fault.NotFound, volumes.Upload(ctx, "none", reader(content), size, nil), "uploading to a volume that is not there")
	_, err = volumes.ReadVolume(ctx, "none", 0)
	s.is(fault.NotFound, err, "reading the content of a volume that is not there")

	s.sparse()

	s.ok(volumes.ResizeVolume(ctx, "v.raw", 2*spec.Size(size)))
	v, err := volumes.Volume(ctx, "v.raw")
	s.ok(err)
	require.Equal(s, 2*spec.Size(size), v.Capacity)
	s.is(fault.Refused, volumes.ResizeVolume(ctx, "v.raw", spec.MiB/2), "shrinking a volume")

	ended, cancel := context.WithCancel(ctx)
	err = volumes.Upload(ended, "v.raw", endless{}, 1<<40, func(int64) { cancel() })
	s.is(fault.Interrupted, err, "an upload whose context ends")
	cancel()
}

// sparse uploads what is mostly zeros to new volumes of either format: it comes back as
// it was, also where qemu-img has written something when the volume was made.
func (s *suite) sparse() {
	s.Helper()
	ctx, volumes := s.Context(), s.host.Volumes
	content := make([]byte, 12<<20+777)
	for _, at := range []int{0, 3 << 20, 5<<20 - 10, 9<<20 + 1, len(content) - 900<<10} {
		copy(content[at:], "something")
	}
	for _, format := range []string{"raw", "qcow2"} {
		name := "sparse." + format
		s.ok(volumes.CreateVolume(ctx, name, format, spec.Size(len(content)/512*512+512)))
		var told int64
		for begin := 0; begin < len(content); begin += 5 << 20 {
			part := content[begin:min(begin+5<<20, len(content))]
			s.ok(volumes.UploadRange(ctx, name, bytes.NewReader(part), int64(begin), int64(len(part)), func(sent int64) { told = sent }))
			require.Equal(s, int64(len(part)), told, "zeros count, too")
		}
		some, err := volumes.ReadRange(ctx, name, 3<<20, 4)
		s.ok(err)
		require.Equal(s, "some", string(some))
		some, err = volumes.ReadRange(ctx, name, int64(len(content))-2, 1<<10)
		s.ok(err)
		require.LessOrEqual(s, len(some), 1<<10)
		require.True(s, bytes.Equal(content, s.content(name, 0)[:len(content)]), "%s comes back as it was", format)
		s.ok(volumes.DeleteVolume(ctx, name))
	}
}

// endless is a source of zeros.
type endless struct{}

func (endless) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func (s *suite) content(name string, offset int64) []byte {
	s.Helper()
	r, err := s.host.Volumes.ReadVolume(s.Context(), name, offset)
	s.ok(err)
	defer func() { require.NoError(s, r.Close()) }()
	content, err := io.ReadAll(r)
	s.ok(err)
	return content
}
