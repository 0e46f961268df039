package engine_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
	"vmctl/pkg/engine/enginetest"
	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// TestMoveRefused changes something about the machine or the hosts: it is said before
// anything is changed, with what to do.
func TestMoveRefused(t *testing.T) {
	type host = enginetest.Options
	here, there := host{}, host{URI: uriB, Remote: true}
	can := func(change func(*engine.Capabilities)) engine.Capabilities {
		c := engine.Capabilities{Arch: "x86_64", KVM: true, EFI: true, SecureBoot: true, TPM: true, NinePFS: true, ID: "b"}
		change(&c)
		return c
	}
	for name, c := range map[string]struct {
		there   func(*host)
		machine func(*spec.Machine)
		before  func(t *testing.T, a, b *enginetest.Host)
		way     engine.Way
		kind    fault.Kind
		why     string
	}{
		"same host":     {there: func(o *host) { o.Capabilities = can(func(c *engine.Capabilities) { c.ID = uriA }) }, kind: fault.Usage, why: "are the same host"},
		"architecture":  {there: func(o *host) { o.Capabilities = can(func(c *engine.Capabilities) { c.Arch = "aarch64" }) }, why: "it is aarch64"},
		"no KVM":        {there: func(o *host) { o.Capabilities = can(func(c *engine.Capabilities) { c.KVM, c.NoKVM = false, "no vmx" }) }, why: "no vmx"},
		"no UEFI":       {there: func(o *host) { o.Capabilities = can(func(c *engine.Capabilities) { c.EFI = false }) }, machine: func(m *spec.Machine) { m.Firmware = spec.FirmwareEFI }, why: "no UEFI firmware"},
		"no swtpm":      {there: func(o *host) { o.Capabilities = can(func(c *engine.Capabilities) { c.TPM = false }) }, machine: func(m *spec.Machine) { m.TPM = true }, why: "no swtpm"},
		"older QEMU":    {there: func(o *host) { o.Hypervisor = "QEMU 6.2.0" }, way: engine.WayLive, why: "the newer QEMU 7.2.0"},
		"another CPU":   {there: func(o *host) { o.CPU = "less" }, way: engine.WayLive, why: "the CPU of b lacks something"},
		"session":       {there: func(o *host) { o.Session = true }, machine: func(m *spec.Machine) { m.Network = spec.NetworkUser }, way: engine.WayLive, why: "between system connections only"},
		"TPM, cold":     {machine: func(m *spec.Machine) { m.TPM = true }, way: engine.WayCold, why: "what is in it moves with a running guest alone"},
		"network":       {before: func(_ *testing.T, _, b *enginetest.Host) { b.RemoveNetwork("default") }, kind: fault.NotFound, why: "has no network default: it has none"},
		"snapshots":     {before: func(_ *testing.T, a, _ *enginetest.Host) { a.PlantSnapshots(2) }, why: "has 2 snapshots"},
		"foreign there": {before: func(_ *testing.T, _, b *enginetest.Host) { b.PlantDomain(engine.Domain{Name: "example", UUID: "x"}) }, why: "vmctl did not make it"},
		"twice": {before: func(_ *testing.T, _, b *enginetest.Host) {
			b.PlantDomain(engine.Domain{Name: "example", UUID: engine.UUID("example"), Record: &engine.Record{Version: 1}})
		}, why: "both a and b have a machine example"},
		"data there": {before: func(t *testing.T, _, b *enginetest.Host) {
			require.NoError(t, on(b).CreateDataVolume(t.Context(), "example", "data", spec.MiB, false))
		}, why: "has a file of a machine example already"},
		"disk of the host's": {before: func(t *testing.T, a, _ *enginetest.Host) {
			require.NoError(t, a.AttachDisk(t.Context(), "example", engine.Disk{Serial: "usb", Path: "/dev/sdx"}))
		}, why: "its disk /dev/sdx is a's own"},
		"pass-through": {machine: func(m *spec.Machine) { m.Devices.USB = []string{"1:2"} }, why: "it has devices of a (devices.usb)"},
		"room": {before: func(t *testing.T, _, b *enginetest.Host) {
			b.PlantPool(engine.Pool{Name: "vmctl", Target: "/p", State: engine.PoolActive, Available: 3})
		}, why: "there is not enough room on b"},
		"unfinished": {before: func(_ *testing.T, a, _ *enginetest.Host) {
			a.PlantVolume(engine.Volume{Name: engine.DataVolume("example", "data") + ".importing"}, nil)
		}, why: "was being imported"},
	} {
		t.Run(name, func(t *testing.T) {
			w, from, to := inFile(t), here, there
			if c.machine != nil {
				c.machine(&w.Machine)
			}
			if c.there != nil {
				c.there(&to)
			}
			from.Devices = []engine.Device{{Kind: engine.DeviceUSB, Address: "1-1", Numbers: "1:2"}}
			p := &pair{a: enginetest.NewHost(from), b: enginetest.NewHost(to), image: w.Image}
			up(t, p.a, w, engine.Options{})
			if c.before != nil {
				c.before(t, p.a, p.b)
			}
			p.a.Forget()
			p.b.Forget()
			_, err := p.move(p.a, p.b).Run(t.Context(), p.options(c.way))
			require.ErrorContains(t, err, c.why)
			if c.kind == fault.Other {
				c.kind = fault.Refused
			}
			assert.Equal(t, c.kind, fault.KindOf(err))
			assert.NotEmpty(t, fault.HintOf(err))
			assert.Empty(t, p.a.Changes())
			assert.Empty(t, p.b.Changes())
		})
	}
}

// TestMoveNotes: nobody touches a machine that is on its way, and its note means one host only.
func TestMoveNotes(t *testing.T) {
	p := newPair(t, inFile(t))
	note := &engine.Moving{To: uriB, ID: "some other host", Deciding: true, Running: true}
	require.NoError(t, p.a.NoteMove(t.Context(), "example", note))
	for verb, do := range map[string]func() error{
		"up":        func() error { _, err := on(p.a).Up(t.Context(), inFile(t), engine.Options{}); return err },
		"start":     func() error { _, err := on(p.a).Start(t.Context(), "example", engine.StartOptions{}); return err },
		"down":      func() error { _, err := on(p.a).Down(t.Context(), "example", engine.DownOptions{}); return err },
		"volume rm": func() error { return on(p.a).RemoveDataVolume(t.Context(), "example", "data") },
	} {
		err := do()
		var moving *engine.MovingError
		require.ErrorAs(t, err, &moving, verb)
		assert.Equal(t, uriB, moving.To)
	}
	p.b.PlantPool(engine.Pool{Name: "vmctl", Target: "/p", State: engine.PoolActive})
	for _, name := range []string{engine.ArrivingVolume("example"), engine.RootVolume("example")} {
		p.b.PlantVolume(engine.Volume{Name: name, Format: "raw"}, []byte(uriA+"\n"))
	}
	_, err := on(p.b).Up(t.Context(), inFile(t), engine.Options{})
	require.ErrorContains(t, err, "example is on its way to "+uriB+" from "+uriA+", and has not arrived")
	removal := down(t, p.b)
	assert.True(t, removal.Copies)
	assert.Empty(t, p.b.VolumeNames())
	_, err = p.move(p.a, p.b).Settle(t.Context(), engine.StartOptions{})
	require.ErrorContains(t, err, "as another computer calls it")
	m := p.move(p.a, p.b)
	m.To = nil
	_, err = m.Settle(t.Context(), engine.StartOptions{})
	require.ErrorContains(t, err, "whether example has arrived on "+uriB+" is not known")
	require.NoError(t, m.GiveUp(t.Context(), engine.StartOptions{}))
	d, err := p.a.Domain(t.Context(), "example")
	require.NoError(t, err)
	assert.Nil(t, d.Record.Moving)
}
