package enginetest

import (
	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// extra makes an empty volume of the machine's and gives the disk that it becomes.
func (s *suite) extra(d engine.Definition, serial, format string) engine.Disk {
	s.Helper()
	name := serial + "." + format
	s.ok(s.host.Volumes.CreateVolume(s.Context(), name, format, spec.MiB))
	v, err := s.host.Volumes.Volume(s.Context(), name)
	s.ok(err)
	return engine.Disk{Serial: serial, Path: v.Path, Format: format, Cache: "writeback", IO: "threads", Discard: "unmap"}
}

// extraDisks: a definition reads back with its disks as they were written.
func extraDisks(s *suite) {
	ctx := s.Context()
	d := s.makeDisks()
	a, b := s.extra(d, "a", "qcow2"), s.extra(d, "twenty-bytes-at-most", "raw")
	b.ReadOnly, b.Cache, b.IO, b.Discard = true, "none", "native", "ignore"
	device := engine.Disk{Serial: "c", Path: "/dev/disk/by-id/none", Format: "raw", Block: true}
	d.Disks = []engine.Disk{a, b, device}
	s.ok(s.host.Domains.DefineDomain(ctx, d))
	got := s.domain(Machine)
	require.Equal(s, d.Disks, got.Attached)
	require.Equal(s, []string{d.Root, a.Path, b.Path, device.Path}, got.Disks)
}

// attachDisk: disks come to and go from a running guest and its definition together.
func attachDisk(s *suite) {
	s.needs(s.features.Guests, "guests")
	ctx, domains := s.Context(), s.host.Domains
	d := s.makeDisks()
	a, b, c := s.extra(d, "a", "qcow2"), s.extra(d, "b", "raw"), s.extra(d, "c", "raw")
	d.Disks = []engine.Disk{a}
	s.start(d, true)
	require.Equal(s, []engine.Disk{a}, s.domain(Machine).Live.Attached)

	s.ok(domains.AttachDisk(ctx, Machine, b))
	s.ok(domains.AttachDisk(ctx, Machine, b))
	got := s.domain(Machine)
	require.Equal(s, []engine.Disk{a, b}, got.Live.Attached)
	require.Equal(s, []engine.Disk{a, b}, got.Attached)

	// What only the definition has yet, the guest gets too.
	d.Disks = []engine.Disk{a, b, c}
	s.ok(domains.DefineDomain(ctx, d))
	require.Len(s, s.domain(Machine).Live.Attached, 2)
	s.ok(domains.AttachDisk(ctx, Machine, c))
	got = s.domain(Machine)
	require.Equal(s, d.Disks, got.Live.Attached)
	require.Equal(s, d.Disks, got.Attached)

	gone := engine.Disk{Serial: "gone", Path: a.Path + ".gone", Format: "raw"}
	s.is(fault.NotFound, domains.AttachDisk(ctx, Machine, gone), "attaching what is not there")
	s.is(fault.NotFound, domains.DetachDisk(ctx, Machine, "gone"), "detaching what is not attached")

	s.ok(domains.DestroyDomain(ctx, Machine))
	s.ok(domains.DetachDisk(ctx, Machine, "b"))
	require.Equal(s, []engine.Disk{a, c}, s.domain(Machine).Attached)
	s.ok(domains.AttachDisk(ctx, Machine, b))
	require.ElementsMatch(s, []engine.Disk{a, b, c}, s.domain(Machine).Attached)
	s.ok(domains.StartDomain(ctx, Machine, true))
	require.Len(s, s.domain(Machine).Live.Attached, 3)
}
