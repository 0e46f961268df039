package enginetest

import (
	"io"

	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// channels: a port has one reader at a time, and ends with the guest.
func channels(s *suite) {
	s.needs(s.features.Guests, "guests")
	ctx := s.Context()
	d := s.makeDisks()
	s.ok(s.host.Domains.DefineDomain(ctx, d))
	_, err := s.host.Consoles.OpenChannel(ctx, Machine, spec.ReportChannel)
	require.Error(s, err, "attaching to what is off")
	s.start(d, false)
	_, err = s.host.Consoles.OpenChannel(ctx, Machine, "org.vmctl.none")
	s.is(fault.NotFound, err, "attaching to a port that is not there")

	first, err := s.host.Consoles.OpenChannel(ctx, Machine, spec.ReportChannel)
	s.ok(err)
	_, err = s.host.Consoles.OpenChannel(ctx, Machine, spec.ReportChannel)
	s.is(fault.Refused, err, "attaching twice")
	s.ok(first.Close())
	second, err := s.host.Consoles.OpenChannel(ctx, Machine, spec.ReportChannel)
	s.ok(err)
	ended := make(chan error)
	go func() {
		_, err := io.Copy(io.Discard, second)
		ended <- err
	}()
	s.ok(s.host.Domains.DestroyDomain(ctx, Machine))
	require.NoError(s, <-ended, "the guest's end is the port's")
	s.ok(second.Close())
}

// noteReady: what is noted of a running guest is gone when it stops.
func noteReady(s *suite) {
	ctx := s.Context()
	d := s.makeDisks()
	s.start(d, true)
	s.ok(s.host.Domains.NoteReady(ctx, Machine))
	got := s.domain(Machine)
	require.True(s, got.Live.Record.Ready)
	require.False(s, got.Record.Ready)
	require.Equal(s, got.Record.Memory, got.Live.Record.Memory)
	s.ok(s.host.Domains.DestroyDomain(ctx, Machine))
	s.ok(s.host.Domains.StartDomain(ctx, Machine, true))
	require.False(s, s.domain(Machine).Live.Record.Ready)
}

// noteApplied: what a guest was brought to is noted of the definition and of what runs.
func noteApplied(s *suite) {
	ctx := s.Context()
	d := s.makeDisks()
	s.is(fault.NotFound, s.host.Domains.NoteApplied(ctx, Machine, nil), "noting of what is not there")
	s.start(d, true)
	all := []engine.Applied{{System: "/nix/store/first", Image: "nix-first"}, {System: "/nix/store/second"}}
	s.ok(s.host.Domains.NoteApplied(ctx, Machine, all))
	got := s.domain(Machine)
	require.Equal(s, all, got.Record.Applied)
	require.Equal(s, all, got.Live.Record.Applied)
	require.Equal(s, d.Record.Image, got.Record.Image)
	s.ok(s.host.Domains.DestroyDomain(ctx, Machine))
	s.ok(s.host.Domains.NoteApplied(ctx, Machine, all[:1]))
	require.Equal(s, all[:1], s.domain(Machine).Record.Applied)
	s.ok(s.host.Domains.StartDomain(ctx, Machine, true))
	require.Equal(s, all[:1], s.domain(Machine).Live.Record.Applied)
}
