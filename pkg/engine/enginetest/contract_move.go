package enginetest

import (
	"strings"

	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

func moves(s *suite) {
	ctx, h := s.Context(), s.host
	_, err := h.Moves.Portable(ctx, Machine)
	s.is(fault.NotFound, err, "reading the definition")
	s.is(fault.NotFound, h.Moves.NoteMove(ctx, Machine, nil), "noting a move")
	s.is(fault.NotFound, h.Moves.MoveLive(ctx, Machine, h.Moves, engine.Passage{}, func(engine.MoveProgress) {}), "moving")

	_, err = h.Moves.MovingLive(ctx, Machine)
	s.is(fault.NotFound, err, "asking for a move")

	d := s.makeDisks()
	s.ok(h.Domains.DefineDomain(ctx, d))
	is, err := h.Moves.MovingLive(ctx, Machine)
	s.ok(err)
	require.False(s, is)
	note := engine.Moving{To: "qemu+ssh://root@b/system", ID: "id", Deciding: true, Running: true}
	s.ok(h.Moves.NoteMove(ctx, Machine, &note))
	require.Equal(s, &note, s.domain(Machine).Record.Moving)
	all, err := h.Domains.ListDomains(ctx, engine.WithRecords)
	s.ok(err)
	require.Len(s, all, 1)
	require.Equal(s, &note, all[0].Record.Moving)
	portable, err := h.Moves.Portable(ctx, Machine)
	s.ok(err)
	require.Zero(s, portable.Snapshots)
	s.ok(h.Moves.NoteMove(ctx, Machine, nil))
	require.Equal(s, &d.Record, s.domain(Machine).Record)
	s.ok(h.Moves.NoteMove(ctx, Machine, &note))
	s.ok(h.Domains.UndefineDomain(ctx, Machine))

	// As on another host, with the root disk elsewhere.
	elsewhere := strings.ReplaceAll(d.Root, "/vmctl/", "/other/")
	s.ok(h.Moves.DefineMoved(ctx, Machine, portable, engine.Relocation{Paths: map[string]string{d.Root: elsewhere, d.Record.Base: "/b"}}))
	got := s.domain(Machine)
	require.Equal(s, []string{elsewhere}, got.Disks)
	want := d.Record
	want.Base = "/b"
	require.Equal(s, &want, got.Record, "without the note")
	require.Equal(s, d.UUID, got.UUID)
	s.ok(h.Domains.UndefineDomain(ctx, Machine))

	cpu, err := h.Moves.CPU(ctx)
	s.ok(err)
	if s.features.Guests {
		runs, err := h.Moves.RunsCPU(ctx, cpu)
		s.ok(err)
		require.True(s, runs, "a host has the CPU that it has")
	}
}

// lengths: a volume's file is as long as what was uploaded, whatever it holds.
func lengths(s *suite) {
	s.needs(s.features.Content, "content")
	ctx, volumes := s.Context(), s.host.Volumes
	s.makePool()
	const size = 3<<20 + 5
	s.ok(volumes.CreateVolume(ctx, "v.raw", "raw", size))
	s.ok(volumes.UploadRange(ctx, "v.raw", strings.NewReader(strings.Repeat("\x00", size)), 0, size, nil))
	v, err := volumes.Volume(ctx, "v.raw")
	s.ok(err)
	require.Equal(s, spec.Size(size), v.Length)
}
