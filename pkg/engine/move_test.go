package engine_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
	"vmctl/pkg/engine/enginetest"
	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// pair are two hosts and a machine on the first.
type pair struct {
	a, b  *enginetest.Host
	image engine.Image
}

const (
	uriA = "qemu:///system"
	uriB = "qemu+ssh://root@b/system"
)

// newPair brings a machine up with a data volume, an encrypted one, and something written
// to each of its disks.
func newPair(t *testing.T, w engine.Wanted) *pair {
	t.Helper()
	p := &pair{a: enginetest.NewHost(enginetest.Options{}), b: enginetest.NewHost(enginetest.Options{URI: uriB, Remote: true}), image: w.Image}
	w.Machine.Volumes = []spec.Volume{
		{Name: "data", Size: spec.GiB, Mount: "/data"}, {Name: "vault", Size: spec.GiB, Encrypt: true},
	}
	_, err := p.move(p.a, p.b).From.Up(t.Context(), w, engine.Options{})
	require.NoError(t, err)
	for _, name := range p.disks() {
		p.a.Write(name, "written to "+name)
	}
	p.a.Forget()
	return p
}

func (p *pair) disks() []string {
	return []string{engine.RootVolume("example"), engine.DataVolume("example", "data"), engine.DataVolume("example", "vault")}
}

func (p *pair) move(from, to *enginetest.Host) *engine.Move {
	name := func(h *enginetest.Host) string {
		if h == p.a {
			return "a"
		}
		return "b"
	}
	m := &engine.Move{Name: "example", From: on(from), To: on(to), FromName: name(from), ToName: name(to), ToURI: to.Connect().URI}
	m.From.Token, m.To.Token = engine.Token{Client: "me", Run: "1"}, engine.Token{Client: "me", Run: "1"}
	return m
}

func (p *pair) options(way engine.Way) engine.MoveOptions {
	return engine.MoveOptions{
		Way: way, Stop: engine.DownOptions{Timeout: time.Minute},
		Image: func(_ context.Context, id, _ string) *engine.Image {
			if img := p.image; img.ID == id && !strings.HasPrefix(img.Path, "/nix") {
				return &img
			}
			return nil
		},
	}
}

// whole checks that the machine is on a host alone, with all that was written to it.
func (p *pair) whole(t *testing.T, there, other *enginetest.Host, running bool) {
	t.Helper()
	assert.Equal(t, []string{"example"}, there.DomainNames())
	assert.Empty(t, other.DomainNames())
	assert.Empty(t, other.VolumeNames())
	assert.Empty(t, other.SecretIDs())
	d, err := there.Domain(t.Context(), "example")
	require.NoError(t, err)
	assert.Nil(t, d.Record.Moving)
	assert.True(t, d.Autostart)
	assert.Equal(t, running, d.State == engine.StateRunning, d.State)
	p.intact(t, there)
	assert.NotContains(t, there.VolumeNames(), engine.ArrivingVolume("example"))
}

// intact checks the disks of the machine on a host.
func (p *pair) intact(t *testing.T, there *enginetest.Host) {
	t.Helper()
	d, err := there.Domain(t.Context(), "example")
	require.NoError(t, err)
	for _, name := range p.disks() {
		assert.Contains(t, string(there.Content(name)), "written to "+name)
	}
	_, err = there.ListVolumes(t.Context(), "")
	require.NoError(t, err)
	root, err := there.Volume(t.Context(), engine.RootVolume("example"))
	require.NoError(t, err)
	assert.Equal(t, d.Record.Base, root.Backing)
	for _, disk := range d.Disks {
		assert.Contains(t, there.VolumeNames(), disk[strings.LastIndexByte(disk, '/')+1:])
	}
	require.Len(t, there.SecretIDs(), 1)
	for _, key := range there.SecretValues() {
		assert.Len(t, key, 26)
	}
}

func TestMoveThereAndBack(t *testing.T) {
	for _, way := range []engine.Way{engine.WayLive, engine.WayCold} {
		t.Run(string(way), func(t *testing.T) {
			w := inFile(t)
			p := newPair(t, w)
			key := p.a.SecretValues()
			moved, err := p.move(p.a, p.b).Run(t.Context(), p.options(way))
			require.NoError(t, err)
			assert.Equal(t, way, moved.Plan.Way)
			assert.True(t, moved.Running)
			assert.Equal(t, way == engine.WayCold, moved.Started)
			p.whole(t, p.b, p.a, true)
			assert.Equal(t, key, p.b.SecretValues())
			again, err := p.move(p.a, p.b).Run(t.Context(), p.options(way))
			require.NoError(t, err)
			assert.True(t, again.There, "a second time there is nothing to do")

			w.Machine.Volumes = []spec.Volume{
				{Name: "data", Size: spec.GiB, Mount: "/data"}, {Name: "vault", Size: spec.GiB, Encrypt: true},
			}
			plan, err := on(p.b).Plan(t.Context(), w, engine.Options{})
			require.NoError(t, err)
			assert.Empty(t, plan.String(), "the machine is as declared there")

			p.image = engine.Image{} // now it comes from the host that has it
			_, err = p.move(p.b, p.a).Run(t.Context(), p.options(way))
			require.NoError(t, err)
			p.whole(t, p.a, p.b, true)
			down(t, p.a)
		})
	}
}

func TestMovePlan(t *testing.T) {
	p := newPair(t, inFile(t))
	text := func(plan *engine.MovePlan) string {
		lines := []string{}
		for _, o := range plan.Ops {
			lines = append(lines, o.String())
		}
		return strings.Join(lines, "\n")
	}
	plan, err := p.move(p.a, p.b).Plan(t.Context(), p.options(engine.WayAuto))
	require.NoError(t, err)
	assert.Equal(t, engine.WayLive, plan.Way)
	assert.Equal(t, strings.TrimSpace(livePlan), text(plan))
	plan, err = p.move(p.a, p.b).Plan(t.Context(), p.options(engine.WayCold))
	require.NoError(t, err)
	assert.Equal(t, strings.TrimSpace(coldPlan), text(plan))
	assert.Empty(t, p.a.Changes())
	assert.Empty(t, p.b.Changes())
}

// A live move is encrypted where both hosts have certificates, and says so where it is not.
func TestMoveIsEncryptedWhereItCan(t *testing.T) {
	p := newPair(t, inFile(t))
	for name, tt := range map[string]struct {
		encryption engine.Encryption
		certified  []string
		encrypted  bool
		note       string
	}{
		"both have certificates": {engine.EncryptionAuto, []string{"a", "b"}, true, ""},
		"the first has none":     {engine.EncryptionAuto, []string{"b"}, false, "unencrypted: QEMU on a is not seen to have certificates"},
		"the other has none":     {engine.EncryptionAuto, []string{"a"}, false, "unencrypted: QEMU on b is not seen to have certificates"},
		"it is asked for":        {engine.EncryptionTLS, nil, true, ""},
		"it is not to be":        {engine.EncryptionNone, []string{"a", "b"}, false, "unencrypted, as --no-tls asks"},
	} {
		t.Run(name, func(t *testing.T) {
			m, o := p.move(p.a, p.b), p.options(engine.WayLive)
			o.Encryption = tt.encryption
			o.Certified = func(_ context.Context, e *engine.Engine) bool {
				return e == m.From && slices.Contains(tt.certified, "a") || e == m.To && slices.Contains(tt.certified, "b")
			}
			plan, err := m.Plan(t.Context(), o)
			require.NoError(t, err)
			live := slices.IndexFunc(plan.Ops, func(o engine.MoveOp) bool { return o.Action == engine.ActionMoveLive })
			assert.Equal(t, tt.encrypted, strings.HasSuffix(plan.Ops[live].Cause, ", encrypted by TLS"))
			assert.Contains(t, strings.Join(plan.Notes, "\n"), tt.note)
			assert.Equal(t, tt.note == "", len(plan.Notes) == 0)
		})
	}
}

// TestMoveOff moves a machine that is off: it is off there.
func TestMoveOff(t *testing.T) {
	p := newPair(t, inFile(t))
	_, err := on(p.a).Stop(t.Context(), "example", engine.DownOptions{Force: true})
	require.NoError(t, err)
	moved, err := p.move(p.a, p.b).Run(t.Context(), p.options(engine.WayAuto))
	require.NoError(t, err)
	assert.Equal(t, engine.WayCold, moved.Plan.Way)
	assert.False(t, moved.Running)
	p.whole(t, p.b, p.a, false)
}

// TestMoveInPlace moves a machine whose root disk lies on the nix store of this machine.
func TestMoveInPlace(t *testing.T) {
	p := newPair(t, inStore())
	_, err := p.move(p.a, p.b).Run(t.Context(), p.options(engine.WayAuto))
	require.ErrorContains(t, err, "the image of example, nix-aaaaaaaaaaaa, cannot be had for b")
	onClient := inFile(t).Image
	o := p.options(engine.WayAuto)
	o.Image = func(context.Context, string, string) *engine.Image {
		img := p.image
		img.Path, img.FileSize = onClient.Path, onClient.FileSize
		return &img
	}
	_, err = p.move(p.a, p.b).Run(t.Context(), o)
	require.NoError(t, err)
	p.whole(t, p.b, p.a, true)
}

// cutAt cuts the connections to both hosts before the n-th call of f, as a kill does. It
// says whether f came that far.
func (p *pair) cutAt(n int, f func()) bool {
	var count atomic.Int64 // both hosts are asked at once
	hook := func(string) enginetest.Fate {
		if count.Add(1) == int64(n) {
			p.a.Cut()
			p.b.Cut()
		}
		return enginetest.Fate{}
	}
	p.a.Each(hook)
	p.b.Each(hook)
	f()
	p.a.Each(nil)
	p.b.Each(nil)
	p.a.Mend()
	p.b.Mend()
	return count.Load() >= int64(n)
}

// oneUsable checks that exactly one of both hosts has the machine, and says whether it is
// the other one.
func (p *pair) oneUsable(t *testing.T) (arrived bool) {
	t.Helper()
	there, err := p.b.Domain(t.Context(), "example")
	arrived = err == nil && there.Record.Moving == nil && !there.Transient
	here, err := p.a.Domain(t.Context(), "example")
	stays := err == nil && (here.Record.Moving == nil || !here.Record.Moving.Deciding || !arrived)
	require.NotEqual(t, arrived, stays, "exactly one: here %v, there %v", here, there)
	if arrived {
		p.intact(t, p.b)
	} else {
		p.intact(t, p.a)
	}
	if arrived && there.State == engine.StateRunning && here != nil {
		require.NotEqual(t, engine.StateRunning, here.State, "it runs twice")
	}
	return arrived
}

// TestMoveKilled ends moves at each of their calls. Exactly one host has the machine then,
// and what comes next finishes or takes back.
func TestMoveKilled(t *testing.T) {
	t.Parallel()
	next := map[string]func(t *testing.T, p *pair, arrived bool){
		"migrate": func(t *testing.T, p *pair, _ bool) {
			_, err := p.move(p.a, p.b).Run(t.Context(), p.options(engine.WayAuto))
			require.NoError(t, err)
			p.whole(t, p.b, p.a, true)
		},
		"up": func(t *testing.T, p *pair, arrived bool) {
			w, err := p.move(p.a, p.b).Settle(t.Context(), engine.StartOptions{})
			require.NoError(t, err)
			assert.Equal(t, arrived && w.Note != nil, w.Arrived)
			if arrived {
				return
			}
			_, err = on(p.a).Start(t.Context(), "example", engine.StartOptions{})
			require.NoError(t, err)
			assert.Equal(t, engine.StateRunning, state(t, p.a))
			p.intact(t, p.a)
			_, err = p.move(p.a, p.b).Run(t.Context(), p.options(engine.WayAuto))
			require.NoError(t, err)
			p.whole(t, p.b, p.a, true)
		},
		"down": func(t *testing.T, p *pair, arrived bool) {
			w, err := p.move(p.a, p.b).Settle(t.Context(), engine.StartOptions{})
			require.NoError(t, err)
			if w.Arrived {
				_, err := p.move(p.a, p.b).Run(t.Context(), p.options(engine.WayAuto))
				require.NoError(t, err)
			}
			for _, h := range []*enginetest.Host{p.a, p.b} {
				e := p.move(h, h).From
				_, err := e.Down(t.Context(), "example", engine.DownOptions{Volumes: true, Force: true})
				require.NoError(t, err)
				assert.Empty(t, h.DomainNames())
				assert.Empty(t, h.VolumeNames())
				assert.Empty(t, h.SecretIDs())
			}
		},
	}
	for _, way := range []engine.Way{engine.WayLive, engine.WayCold} {
		for verb, do := range next {
			t.Run(fmt.Sprintf("%s then %s", way, verb), func(t *testing.T) {
				w := inFile(t)
				for n := 1; ; n++ {
					p := newPair(t, w)
					came := p.cutAt(n, func() { _, _ = p.move(p.a, p.b).Run(t.Context(), p.options(way)) })
					do(t, p, p.oneUsable(t))
					require.False(t, t.Failed(), "at call %d", n)
					if !came {
						require.Greater(t, n, 40)
						return
					}
				}
			})
		}
	}
}

// TestMoveFails makes each call fail: the machine stays and runs where it was, or has come through.
func TestMoveFails(t *testing.T) {
	for _, way := range []engine.Way{engine.WayLive, engine.WayCold} {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, %v", way, after), func(t *testing.T) {
				w := inFile(t)
				for n := 1; ; n++ {
					p := newPair(t, w)
					var count atomic.Int64
					for _, h := range []*enginetest.Host{p.a, p.b} {
						h.Each(func(string) enginetest.Fate {
							if count.Add(1) == int64(n) {
								return enginetest.Fate{Err: fault.New(fault.Other, "the test says no"), After: after}
							}
							return enginetest.Fate{}
						})
					}
					_, err := p.move(p.a, p.b).Run(t.Context(), p.options(way))
					p.a.Each(nil)
					p.b.Each(nil)
					arrived := p.oneUsable(t)
					if !arrived {
						require.Error(t, err)
						assert.Equal(t, engine.StateRunning, state(t, p.a), "call %d", n)
						d, err := p.a.Domain(t.Context(), "example")
						require.NoError(t, err)
						assert.Nil(t, d.Record.Moving, "call %d", n)
						assert.True(t, d.Autostart)
						assert.Empty(t, p.b.DomainNames())
						left := slices.DeleteFunc(p.b.VolumeNames(), func(name string) bool { return strings.HasPrefix(name, "base-") })
						assert.Empty(t, left, "call %d: %v", n, err)
						assert.Empty(t, p.b.SecretIDs())
					}
					if arrived {
						_, err := p.move(p.a, p.b).Run(t.Context(), p.options(way))
						require.NoError(t, err)
						p.whole(t, p.b, p.a, true)
					}
					if t.Failed() {
						require.FailNow(t, "at call", "%d: %v", n, err)
					}
					if count.Load() < int64(n) {
						return
					}
				}
			})
		}
	}
}

// TestMoveBroken loses both hosts in the middle of libvirt's own move.
func TestMoveBroken(t *testing.T) {
	for _, arrived := range []bool{false, true} {
		p := newPair(t, inFile(t))
		p.a.BreakMove(arrived)
		_, err := p.move(p.a, p.b).Run(t.Context(), p.options(engine.WayLive))
		assert.Equal(t, arrived, p.oneUsable(t))
		if arrived {
			require.NoError(t, err)
			p.whole(t, p.b, p.a, true)
			continue
		}
		require.Error(t, err)
		p.whole(t, p.a, p.b, true)
	}
}

// TestMoveHeld goes on with a move in whose middle the other host was lost: the guest is held
// here, and nobody could say where it is.
func TestMoveHeld(t *testing.T) {
	p := newPair(t, inFile(t))
	p.a.BreakMove(false)
	p.a.Before("MoveLive", p.b.Cut)
	_, err := p.move(p.a, p.b).Run(t.Context(), p.options(engine.WayLive))
	require.ErrorContains(t, err, "whether example has arrived on b is not known")
	assert.Equal(t, fault.Unreachable, fault.KindOf(err))
	assert.Equal(t, engine.StatePaused, state(t, p.a))
	_, err = on(p.a).Start(t.Context(), "example", engine.StartOptions{})
	require.Error(t, err, "nobody may let it run while it may run there")
	p.b.Mend()
	p.a.Before("MoveLive", nil)
	p.a.SetMoving(true)
	_, err = p.move(p.a, p.b).Run(t.Context(), p.options(engine.WayAuto))
	require.ErrorContains(t, err, "libvirt on a is still at a move of example")
	_, err = p.move(p.a, p.b).Settle(t.Context(), engine.StartOptions{})
	require.ErrorContains(t, err, "libvirt on a is still at a move of example")
	p.a.SetMoving(false)
	moved, err := p.move(p.a, p.b).Run(t.Context(), p.options(engine.WayAuto))
	require.NoError(t, err)
	assert.Equal(t, engine.WayLive, moved.Plan.Way)
	p.whole(t, p.b, p.a, true)
}

// TestMoveSession moves between connections of ordinary users: the guest is stopped for it.
func TestMoveSession(t *testing.T) {
	p := &pair{
		a: enginetest.NewHost(enginetest.Options{Session: true}),
		b: enginetest.NewHost(enginetest.Options{URI: "qemu+ssh://me@b/session", Remote: true, Session: true}),
	}
	w := inFile(t)
	w.Machine.Volumes = []spec.Volume{{Name: "data", Size: spec.GiB}, {Name: "vault", Size: spec.GiB, Encrypt: true}}
	_, err := p.move(p.a, p.b).From.Up(t.Context(), w, engine.Options{})
	require.NoError(t, err)
	for _, name := range p.disks() {
		p.a.Write(name, "written to "+name)
	}
	moved, err := p.move(p.a, p.b).Run(t.Context(), p.options(engine.WayAuto))
	require.NoError(t, err)
	assert.Equal(t, engine.WayCold, moved.Plan.Way)
	assert.Equal(t, "libvirt moves running guests between system connections only", moved.Plan.Why)
	p.whole(t, p.b, p.a, true)
}

// TestMoveSecrets hands a machine that is moved cold its secrets where it boots: there, and
// here again when that fails.
func TestMoveSecrets(t *testing.T) {
	w := inFile(t)
	w.Delivery = &engine.Delivery{Names: []string{"db"}, Read: func(context.Context) ([][]byte, error) { return [][]byte{[]byte("secret")}, nil }}
	p := &pair{a: enginetest.NewHost(enginetest.Options{}), b: enginetest.NewHost(enginetest.Options{URI: uriB, Remote: true}), image: w.Image}
	for _, h := range []*enginetest.Host{p.a, p.b} {
		h.SetGuest("example", enginetest.Guest{TakesSecrets: true})
	}
	up(t, p.a, w, engine.Options{})
	deliver := func(h *enginetest.Host) {
		require.NoError(t, on(h).Deliver(t.Context(), "example", nil, time.Minute))
		assert.Equal(t, "secret", string(h.Taken("example"))[:6])
		assert.NotContains(t, h.VolumeNames(), engine.DeliveryVolume("example"))
	}
	deliver(p.a)
	o := p.options(engine.WayCold)
	o.Start.Delivery = w.Delivery

	p.b.Fail("StartDomain", 1, fault.New(fault.Other, "no memory left"))
	m := p.move(p.a, p.b)
	_, err := m.Run(t.Context(), o)
	require.ErrorContains(t, err, "no memory left")
	assert.True(t, m.Restarted())
	deliver(p.a)
	assert.Empty(t, p.b.DomainNames())

	// Neither there nor here: the machine is off here, and can be started.
	p.a.Fail("StartDomain", 1, fault.New(fault.Other, "no memory here, either"))
	p.b.Fail("StartDomain", 1, fault.New(fault.Other, "no memory left"))
	_, err = p.move(p.a, p.b).Run(t.Context(), o)
	require.ErrorContains(t, err, "no memory left")
	require.ErrorContains(t, err, "no memory here, either")
	assert.Equal(t, engine.StateShutOff, state(t, p.a))
	_, err = on(p.a).Start(t.Context(), "example", o.Start)
	require.NoError(t, err)
	deliver(p.a)

	moved, err := p.move(p.a, p.b).Run(t.Context(), o)
	require.NoError(t, err)
	assert.True(t, moved.Delivering)
	deliver(p.b)
	assert.Empty(t, p.a.VolumeNames())
}

// TestMoveFirmwareSecrets: the files that QEMU read them from are the first host's. So the guest is
// stopped, finds them in files of the other host at its boot there, and wherever that is killed,
// the next migrate leaves neither host with any.
func TestMoveFirmwareSecrets(t *testing.T) {
	w := byFirmware()
	w.Image = inFile(t).Image
	options := func(p *pair, way engine.Way) engine.MoveOptions {
		o := p.options(way)
		o.Start.Delivery = byFirmware().Delivery
		return o
	}
	p := newPair(t, w)
	_, err := p.move(p.a, p.b).Run(t.Context(), options(p, engine.WayLive))
	require.ErrorContains(t, err, "its firmware holds secrets that are handed over at a boot")
	assert.Contains(t, fault.HintOf(err), "migrate --cold")
	assert.Empty(t, p.a.Changes())
	assert.Empty(t, p.b.Changes())
	for n := 1; ; n++ {
		p := newPair(t, w)
		var moved *engine.Moved
		came := p.cutAt(n, func() { moved, _ = p.move(p.a, p.b).Run(t.Context(), options(p, engine.WayAuto)) })
		if came {
			_, err := p.move(p.a, p.b).Run(t.Context(), options(p, engine.WayAuto))
			require.NoError(t, err)
		}
		p.whole(t, p.b, p.a, true)
		assert.Equal(t, canary, string(p.b.Taken("example")))
		nothingSecret(t, p.b)
		require.False(t, t.Failed(), "at call %d", n)
		if !came {
			assert.Equal(t, engine.WayCold, moved.Plan.Way)
			assert.False(t, moved.Delivering, "the guest has nothing to give back")
			return
		}
	}
}

// TestMoveInterrupted is Ctrl-C at each call: the machine runs on, where it was or where it
// has come, and nothing is left on the other host.
func TestMoveInterrupted(t *testing.T) {
	for _, way := range []engine.Way{engine.WayLive, engine.WayCold} {
		w := inFile(t)
		for n := 1; ; n++ {
			p := newPair(t, w)
			ctx, cancel := context.WithCancel(t.Context())
			var count atomic.Int64
			hook := func(string) enginetest.Fate {
				if count.Add(1) == int64(n) {
					cancel()
				}
				return enginetest.Fate{}
			}
			p.a.Each(hook)
			p.b.Each(hook)
			_, err := p.move(p.a, p.b).Run(ctx, p.options(way))
			cancel()
			p.a.Each(nil)
			p.b.Each(nil)
			if count.Load() < int64(n) {
				require.NoError(t, err)
				break
			}
			if p.oneUsable(t) {
				if err != nil {
					assert.Equal(t, fault.Interrupted, fault.KindOf(err), "%s at call %d: %v", way, n, err)
				} else {
					p.whole(t, p.b, p.a, true)
					require.False(t, t.Failed(), "%s at call %d", way, n)
				}
				_, err := p.move(p.a, p.b).Run(t.Context(), p.options(way))
				require.NoError(t, err)
				p.whole(t, p.b, p.a, true)
				continue
			}
			assert.Equal(t, fault.Interrupted, fault.KindOf(err), "%s at call %d: %v", way, n, err)
			p.whole(t, p.a, p.b, true)
			require.False(t, t.Failed(), "%s at call %d: %v", way, n, err)
		}
	}
}
