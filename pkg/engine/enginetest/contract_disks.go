package enginetest

import (
	"bytes"
	"context"
	"path"

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

// diskUsers: it is known who has which disk, live and defined.
func diskUsers(s *suite) {
	ctx, domains := s.Context(), s.host.Domains
	d := s.makeDisks()
	a := s.extra(d, "a", "raw")
	d.Disks = []engine.Disk{a}
	s.ok(domains.DefineDomain(ctx, d))
	users, err := domains.DiskUsers(ctx)
	s.ok(err)
	require.ElementsMatch(s, []engine.DiskUser{{Domain: Machine, Path: d.Root}, {Domain: Machine, Path: a.Path}}, users)
	s.start(d, true)
	d.Disks = nil
	s.ok(domains.DefineDomain(ctx, d))
	users, err = domains.DiskUsers(ctx)
	s.ok(err)
	require.ElementsMatch(s, []engine.DiskUser{{Domain: Machine, Path: d.Root, Running: true}, {Domain: Machine, Path: a.Path, Running: true}}, users)
}

// encrypted: a secret's value is set apart from it, and opens the volume that was made with it.
func encrypted(s *suite) {
	s.needs(s.features.Guests, "guests")
	const id = "5a4f6c1e-0000-5000-8000-0123456789ac"
	ctx, secrets := s.Context(), s.host.Secrets
	d := s.makeDisks()
	s.is(fault.NotFound, secrets.SetSecret(ctx, id, []byte("key")), "setting a secret that is not there")
	secret := engine.Secret{UUID: id, Volume: "vault.qcow2", Description: "a <key> & more"}
	s.ok(secrets.DefineSecret(ctx, secret))
	s.ok(secrets.DefineSecret(ctx, secret))
	s.Cleanup(func() { _ = s.host.Secrets.DeleteSecret(context.Background(), id) })
	all, err := secrets.ListSecrets(ctx, "vault.")
	s.ok(err)
	require.Len(s, all, 1)
	require.Equal(s, id, all[0].UUID)
	require.Equal(s, "vault.qcow2", all[0].Volume)
	s.ok(secrets.SetSecret(ctx, id, []byte("a key")))
	s.ok(s.host.Volumes.CreateEncrypted(ctx, "vault.qcow2", "qcow2", 8*spec.MiB, id))
	v, err := s.host.Volumes.Volume(ctx, "vault.qcow2")
	s.ok(err)
	require.True(s, v.Encrypted)
	require.Equal(s, 8*spec.MiB, v.Capacity)
	vault := engine.Disk{Serial: "vault", Path: v.Path, Format: "qcow2", Secret: id}
	d.Disks = []engine.Disk{vault}
	s.start(d, true)
	require.Equal(s, id, s.domain(Machine).Live.Attached[0].Secret)
	s.ok(s.host.Domains.ResizeLiveDisk(ctx, Machine, v.Path, 16*spec.MiB))
	s.ok(s.host.Domains.DestroyDomain(ctx, Machine))
	s.ok(s.host.Volumes.ResizeVolume(ctx, "vault.qcow2", 32*spec.MiB))
	v, err = s.host.Volumes.Volume(ctx, "vault.qcow2")
	s.ok(err)
	require.Equal(s, 32*spec.MiB, v.Capacity)
	s.ok(s.host.Domains.StartDomain(ctx, Machine, true))
	s.ok(s.host.Domains.DestroyDomain(ctx, Machine))
	s.ok(secrets.DeleteSecret(ctx, id))
	s.is(fault.NotFound, secrets.DeleteSecret(ctx, id), "deleting a secret twice")
}

// lendDisk: what is lent has only the guest that runs now.
func lendDisk(s *suite) {
	s.needs(s.features.Guests, "guests")
	ctx, domains := s.Context(), s.host.Domains
	d := s.makeDisks()
	a := s.extra(d, "a", "raw")
	a.ReadOnly = true
	s.start(d, true)
	s.ok(domains.LendDisk(ctx, Machine, a))
	s.ok(domains.LendDisk(ctx, Machine, a))
	got := s.domain(Machine)
	require.Equal(s, []engine.Disk{a}, got.Live.Attached)
	require.Empty(s, got.Attached)
	s.ok(domains.DestroyDomain(ctx, Machine))
	require.Empty(s, s.domain(Machine).Attached)
	s.ok(domains.StartDomain(ctx, Machine, true))
	require.Empty(s, s.domain(Machine).Live.Attached)
}

// firmwareFiles: QEMU reads files while it starts, and the definition stays without them.
func firmwareFiles(s *suite) {
	ctx, domains := s.Context(), s.host.Domains
	d := s.makeDisks()
	s.ok(domains.DefineDomain(ctx, d))
	s.Cleanup(func() { _ = domains.DestroyDomain(context.Background(), Machine) })
	const odd = 77
	file := engine.FirmwareFile{Name: spec.FirmwarePrefix + "db", Path: path.Dir(d.Root) + "/db.img"}
	if s.features.Files {
		require.Error(s, domains.StartDomainWith(ctx, Machine, true, []engine.FirmwareFile{file}), "a file that is not there")
		require.Equal(s, engine.StateShutOff, s.domain(Machine).State)
	}
	s.ok(s.host.Volumes.CreateVolume(ctx, "db.img", "raw", odd))
	if s.features.Content {
		s.ok(s.host.Volumes.Upload(ctx, "db.img", bytes.NewReader(bytes.Repeat([]byte("x"), odd)), odd, nil))
		v, err := s.host.Volumes.Volume(ctx, "db.img")
		s.ok(err)
		require.Equal(s, spec.Size(odd), v.Capacity, "a credential has its length to the byte")
	}
	s.ok(domains.StartDomainWith(ctx, Machine, true, []engine.FirmwareFile{file}))
	got := s.domain(Machine)
	require.Equal(s, engine.StatePaused, got.State)
	require.False(s, got.Transient)
	require.Equal(s, &d.Record, got.Live.Record)
	s.is(fault.Refused, domains.StartDomainWith(ctx, Machine, true, []engine.FirmwareFile{file}), "starting what runs")
	s.ok(s.host.Volumes.DeleteVolume(ctx, "db.img"))
	s.ok(domains.ResumeDomain(ctx, Machine))
	text, err := domains.DomainXML(ctx, Machine, true)
	s.ok(err)
	require.NotContains(s, text, "db.img")
	s.ok(domains.DestroyDomain(ctx, Machine))
	s.ok(domains.StartDomain(ctx, Machine, true))
	text, err = domains.DomainXML(ctx, Machine, false)
	s.ok(err)
	require.NotContains(s, text, "db.img", "the next boot is without")
}
