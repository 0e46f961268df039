package enginetest

import (
	"io"
	"net/netip"
	"slices"

	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

func reservation() engine.Reservation {
	return engine.Reservation{MAC: "52:54:00:12:34:56", Address: netip.MustParseAddr("192.168.122.77")}
}

// reservations holds networks to giving back what was reserved, and to telling.
func reservations(s *suite) {
	ctx, networks := s.Context(), s.host.Networks
	all, err := networks.ListNetworks(ctx)
	s.ok(err)
	i := slices.IndexFunc(all, func(n engine.Network) bool { return n.Name == spec.NetworkDefault })
	s.needs(i >= 0, "network called default")
	before, err := networks.DHCP(ctx, spec.NetworkDefault)
	s.ok(err)
	require.NotEmpty(s, before.Subnets)
	r := reservation()
	require.True(s, before.Subnets[0].Contains(r.Address), "%s", before.Subnets[0])
	require.NotContains(s, before.Reserved, r)

	s.ok(networks.Reserve(ctx, spec.NetworkDefault, r))
	s.is(fault.Refused, networks.Reserve(ctx, spec.NetworkDefault, r), "reserving twice")
	after, err := networks.DHCP(ctx, spec.NetworkDefault)
	s.ok(err)
	require.Contains(s, after.Reserved, r)
	s.ok(networks.Release(ctx, spec.NetworkDefault, r))
	s.is(fault.NotFound, networks.Release(ctx, spec.NetworkDefault, r), "releasing twice")
	after, err = networks.DHCP(ctx, spec.NetworkDefault)
	s.ok(err)
	require.ElementsMatch(s, before.Reserved, after.Reserved)
}

// screens holds a host to showing what a guest draws.
func screens(s *suite) {
	s.needs(s.features.Guests, "guests that run")
	ctx := s.Context()
	d := s.makeDisks()
	s.ok(s.host.Domains.DefineDomain(ctx, d))
	s.ok(s.host.Domains.StartDomain(ctx, Machine, true))
	_, err := s.host.Screens.Screen(ctx, Machine)
	s.is(fault.NotFound, err, "asking for the screen of a guest without one")
	_, _, err = s.host.Screens.Screenshot(ctx, Machine)
	s.is(fault.NotFound, err, "taking a picture of a guest without a screen")
	s.ok(s.host.Domains.DestroyDomain(ctx, Machine))

	d.Machine.Graphics, d.Video = spec.GraphicsVNC, "vga"
	s.ok(s.host.Domains.DefineDomain(ctx, d))
	s.ok(s.host.Domains.StartDomain(ctx, Machine, false))
	screen, err := s.host.Screens.Screen(ctx, Machine)
	s.ok(err)
	require.Equal(s, "vnc", screen.Kind)
	require.Equal(s, "127.0.0.1", screen.Address)
	require.NotZero(s, screen.Port)
	mime, picture, err := s.host.Screens.Screenshot(ctx, Machine)
	s.ok(err)
	content, err := io.ReadAll(picture)
	s.ok(err)
	s.ok(picture.Close())
	require.Contains(s, []string{"image/x-portable-pixmap", "image/png"}, mime)
	require.NotEmpty(s, content)
	s.ok(s.host.Domains.DestroyDomain(ctx, Machine))
}
