package enginetest

import (
	"context"
	"net/netip"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

func nothingThere(s *suite) {
	ctx, h := s.Context(), s.host
	_, err := h.Domains.Domain(ctx, Machine)
	s.is(fault.NotFound, err, "reading")
	_, err = h.Domains.DomainXML(ctx, Machine, true)
	s.is(fault.NotFound, err, "reading the XML")
	s.is(fault.NotFound, h.Domains.StartDomain(ctx, Machine, false), "starting")
	s.is(fault.NotFound, h.Domains.ResumeDomain(ctx, Machine), "resuming")
	s.is(fault.NotFound, h.Domains.ShutdownDomain(ctx, Machine, engine.ShutdownACPI), "shutting down")
	s.is(fault.NotFound, h.Domains.DestroyDomain(ctx, Machine), "destroying")
	s.is(fault.NotFound, h.Domains.UndefineDomain(ctx, Machine), "undefining")
	s.is(fault.NotFound, h.Domains.SetAutostart(ctx, Machine, true), "autostart")
	s.is(fault.NotFound, h.Domains.SetLiveMemory(ctx, Machine, spec.MiB), "memory")
	_, err = h.Consoles.OpenConsole(ctx, Machine, false)
	s.is(fault.NotFound, err, "attaching")
	_, err = h.Networks.Network(ctx, "nothing")
	s.is(fault.NotFound, err, "network")
	s.is(fault.NotFound, h.Networks.StartNetwork(ctx, "nothing"), "starting a network")
	_, err = h.Networks.DHCP(ctx, "nothing")
	s.is(fault.NotFound, err, "reading the DHCP server of a network")
	s.is(fault.NotFound, h.Networks.Reserve(ctx, "nothing", reservation()), "reserving in a network")
	s.is(fault.NotFound, h.Networks.Release(ctx, "nothing", reservation()), "releasing in a network")
	_, err = h.Screens.Screen(ctx, Machine)
	s.is(fault.NotFound, err, "asking for a screen")
	_, _, err = h.Screens.Screenshot(ctx, Machine)
	s.is(fault.NotFound, err, "taking a picture")
	_, err = h.Networks.Addresses(ctx, Machine)
	s.is(fault.NotFound, err, "addresses")
	_, err = h.Events.AgentConnected(ctx, Machine)
	s.is(fault.NotFound, err, "agent")
	all, err := h.Domains.ListDomains(ctx, engine.WithRecords)
	s.ok(err)
	require.Empty(s, all)
	require.NotEmpty(s, h.URI)
	caps, err := h.Inspector.Capabilities(ctx)
	s.ok(err)
	require.NotEmpty(s, caps.Arch)
	require.Equal(s, caps.KVM, caps.NoKVM == "", "a host without KVM says why")
	versions, err := h.Inspector.Versions(ctx)
	s.ok(err)
	require.NotEmpty(s, versions.Libvirt)
	require.NotEmpty(s, versions.Hypervisor)
}

func define(s *suite) {
	ctx := s.Context()
	d := s.makeDisks()
	s.ok(s.host.Domains.DefineDomain(ctx, d))
	got := s.domain(Machine)
	require.Equal(s, engine.StateShutOff, got.State)
	require.Equal(s, d.UUID, got.UUID)
	require.Equal(s, Machine, got.Name)
	require.Equal(s, &d.Record, got.Record)
	require.Equal(s, 64*spec.MiB, got.Memory)
	require.Equal(s, 1, got.CPUs)
	require.Equal(s, []string{d.Root}, got.Disks)
	require.Nil(s, got.Live)
	require.False(s, got.Autostart)
	require.False(s, got.ManagedSave)

	s.ok(s.host.Domains.SetAutostart(ctx, Machine, true))
	require.True(s, s.domain(Machine).Autostart)
	s.ok(s.host.Domains.SetAutostart(ctx, Machine, false))
	require.False(s, s.domain(Machine).Autostart)

	d.Machine.CPUs, d.Record.CPUs = 2, 2
	s.ok(s.host.Domains.DefineDomain(ctx, d))
	require.Equal(s, 2, s.domain(Machine).CPUs)

	text, err := s.host.Domains.DomainXML(ctx, Machine, true)
	s.ok(err)
	require.Contains(s, text, d.UUID)

	s.ok(s.host.Domains.UndefineDomain(ctx, Machine))
	_, err = s.host.Domains.Domain(ctx, Machine)
	s.is(fault.NotFound, err, "reading what was undefined")
}

func defineClash(s *suite) {
	d := s.makeDisks()
	s.ok(s.host.Domains.DefineDomain(s.Context(), d))
	other := d
	other.UUID = uuid.NewString()
	s.is(fault.Refused, s.host.Domains.DefineDomain(s.Context(), other), "a name with another UUID")
	other = d
	other.Machine.Name = "other"
	s.is(fault.Refused, s.host.Domains.DefineDomain(s.Context(), other), "a UUID with another name")
	undecided := d
	undecided.Machine.Accel = spec.AccelAuto
	s.is(fault.Invalid, s.host.Domains.DefineDomain(s.Context(), undecided), "an undecided accelerator")
	undecided = d
	undecided.Machine.Network = ""
	s.is(fault.Invalid, s.host.Domains.DefineDomain(s.Context(), undecided), "an undecided network")
	require.Equal(s, &d.Record, s.domain(Machine).Record, "nothing of it came through")
}

func recordSurvives(s *suite) {
	d := s.makeDisks()
	d.Machine.Memory = 1_000_000_001
	d.Machine.Network = spec.NetworkUser
	d.Machine.Ports = []spec.Port{
		{Address: netip.MustParseAddr("127.0.0.1"), Host: 2222, Guest: 22, Protocol: "tcp"},
		{Address: netip.MustParseAddr("0.0.0.0"), Host: 53, Guest: 53, Protocol: "udp"},
	}
	d.Record.Memory, d.Record.Network, d.Record.Ports = d.Machine.Memory, d.Machine.Network, d.Machine.Ports
	d.Record.Volumes = []engine.RecordVolume{
		{Name: "data", Mount: "/var/lib/<data>", Format: spec.Ext4, Path: "/pool/data"}, {Name: "raw", Path: "/dev/sdx"},
	}
	d.Record.Interfaces = []spec.Interface{
		{Link: spec.LinkNetwork, Name: "default", Address: netip.MustParseAddr("192.168.122.50")},
		{Link: spec.LinkMacvtap, Name: "eth0", MAC: "52:54:00:12:34:56", Model: "e1000e"}, {Link: spec.LinkUser},
	}
	d.Record.Shares = []engine.Share{
		{Share: spec.Share{Tag: "src", Source: `/home/me/<a> & "b"`, Target: "/mnt/src", ReadOnly: true}, Driver: spec.Share9p},
	}
	d.Record.Settings = []engine.Setting{{Key: "tpm", Value: "2.0"}, {Key: "xml[0]", Value: "domain/{a,b} (1234)"}}
	d.Record.Version = engine.RecordVersion + 1
	s.ok(s.host.Domains.DefineDomain(s.Context(), d))
	got := s.domain(Machine)
	require.Equal(s, &d.Record, got.Record)
	require.Equal(s, d.Machine.Memory, got.Memory, "also where libvirt rounds to KiB")
}

func lifecycle(s *suite) {
	ctx, domains := s.Context(), s.host.Domains
	d := s.makeDisks()
	s.ok(domains.DefineDomain(ctx, d))
	s.is(fault.Refused, domains.DestroyDomain(ctx, Machine), "destroying what is off")
	s.start(d, true)
	got := s.domain(Machine)
	require.Equal(s, engine.StatePaused, got.State)
	require.NotNil(s, got.Live)
	require.Equal(s, &d.Record, got.Live.Record)
	require.Equal(s, 64*spec.MiB, got.Live.MaxMemory)
	require.Equal(s, 1, got.Live.CPUs)
	require.Equal(s, 1, got.Live.MaxCPUs)
	s.ok(domains.ResumeDomain(ctx, Machine))
	s.ok(domains.ResumeDomain(ctx, Machine)) // it runs already
	require.Equal(s, engine.StateRunning, s.domain(Machine).State)
	s.is(fault.Refused, domains.StartDomain(ctx, Machine, false), "starting what runs")
	s.ok(domains.DestroyDomain(ctx, Machine))
	require.Equal(s, engine.StateShutOff, s.domain(Machine).State)
	s.is(fault.Refused, domains.ResumeDomain(ctx, Machine), "resuming what is off")
	s.is(fault.Refused, domains.SetLiveMemory(ctx, Machine, spec.MiB), "setting memory of what is off")
	s.ok(domains.StartDomain(ctx, Machine, false))
	require.Equal(s, engine.StateRunning, s.domain(Machine).State)
}

func runningKeepsItsDefinition(s *suite) {
	d := s.makeDisks()
	s.start(d, true)
	changed := d
	changed.Machine.Memory, changed.Record.Memory = 128*spec.MiB, 128*spec.MiB
	s.ok(s.host.Domains.DefineDomain(s.Context(), changed))
	got := s.domain(Machine)
	require.Equal(s, 128*spec.MiB, got.Memory)
	require.Equal(s, 128*spec.MiB, got.Record.Memory)
	require.Equal(s, 64*spec.MiB, got.Live.MaxMemory)
	require.Equal(s, 64*spec.MiB, got.Live.Record.Memory)
}

func list(s *suite) {
	ctx := s.Context()
	d := s.makeDisks()
	s.start(d, false)
	foreign := declared("a-foreign", "/nowhere")
	foreign.UUID = uuid.NewString()
	s.ok(s.host.Domains.DefineDomain(ctx, foreign))
	s.Cleanup(func() { _ = s.host.Domains.UndefineDomain(context.Background(), "a-foreign") })
	s.ok(s.host.Domains.SetAutostart(ctx, "a-foreign", true))
	all, err := s.host.Domains.ListDomains(ctx, engine.WithAutostart)
	s.ok(err)
	require.Equal(s, []engine.DomainSummary{
		{Name: "a-foreign", UUID: foreign.UUID, State: engine.StateShutOff, Autostart: true},
		{Name: Machine, UUID: d.UUID, State: engine.StateRunning},
	}, all)
	require.False(s, all[0].Ours())
	require.True(s, all[1].Ours())
	all, err = s.host.Domains.ListDomains(ctx, engine.WithRecords|engine.WithAutostart)
	s.ok(err)
	require.Equal(s, []engine.DomainSummary{
		{Name: "a-foreign", UUID: foreign.UUID, State: engine.StateShutOff, Autostart: true},
		{Name: Machine, UUID: d.UUID, State: engine.StateRunning, Managed: true, Record: &d.Record, Memory: 64 * spec.MiB, CPUs: 1},
	}, all)
}

func endedContext(s *suite) {
	d := s.makeDisks()
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	_, err := s.host.Domains.Domain(ctx, Machine)
	s.is(fault.Interrupted, err, "reading")
	require.ErrorIs(s, err, context.Canceled)
	s.is(fault.Interrupted, s.host.Domains.DefineDomain(ctx, d), "defining")
	_, err = s.host.Events.Watch(ctx, Machine)
	s.is(fault.Interrupted, err, "watching")
	_, err = s.host.Domains.Domain(s.Context(), Machine)
	s.is(fault.NotFound, err, "nothing was defined")
}

func missingDisk(s *suite) {
	s.needs(s.features.Files, "files")
	d := s.makeDisks()
	s.ok(s.host.Domains.DefineDomain(s.Context(), d))
	s.ok(s.host.Volumes.DeleteVolume(s.Context(), engine.RootVolume(Machine)))
	s.is(fault.NotFound, s.host.Domains.StartDomain(s.Context(), Machine, false), "starting without its disk")
}
