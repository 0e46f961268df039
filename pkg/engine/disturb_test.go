package engine_test

import (
	"context"
	"errors"
	"regexp"
	"runtime"
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

// act is something a person does to the machine example, and how it came to that.
type act struct {
	name   string
	before func(t *testing.T, h *enginetest.Host)
	do     func(ctx context.Context, e *engine.Engine) error
	// back says that a failure or Ctrl-C takes all of it back.
	back bool
	// again is what doing it once more may be refused with, when it was done.
	again fault.Kind
	// loses says that it is meant to lose the data volume.
	loses bool
}

// acts are all that change a host.
func acts(t *testing.T) []act {
	t.Helper()
	vault := volume("vault", spec.GiB)
	vault.Encrypt = true
	first := withVolumes(volume("data", spec.GiB), volume("old", spec.GiB))
	pushed := inFile(t)
	pushed.Machine.Volumes = append([]spec.Volume{vault}, first.Machine.Volumes...)
	pushed.Media = told("a").Media
	changed := withVolumes(volume("data", 2*spec.GiB), volume("new", spec.GiB), vault)
	changed.Machine.Disk, changed.Machine.Memory = 20*spec.GiB, spec.GiB/2
	restarted := changed
	restarted.Machine.CPUs = 4
	replaced := first
	replaced.Machine.Disk = 5 * spec.GiB

	upping := func(w engine.Wanted, o engine.Options) func(context.Context, *engine.Engine) error {
		o.StopTimeout = time.Minute
		return func(ctx context.Context, e *engine.Engine) error { _, err := e.Up(ctx, w, o); return err }
	}
	downing := func(o engine.DownOptions) func(context.Context, *engine.Engine) error {
		return func(ctx context.Context, e *engine.Engine) error {
			_, err := e.Down(ctx, "example", o)
			return err
		}
	}
	empty := func(*testing.T, *enginetest.Host) {}
	running := func(t *testing.T, h *enginetest.Host) { up(t, h, first, engine.Options{}) }
	stopped := func(t *testing.T, h *enginetest.Host) {
		running(t, h)
		_, err := on(h).Stop(t.Context(), "example", engine.DownOptions{Force: true})
		require.NoError(t, err)
	}
	return []act{
		{name: "up", before: empty, do: upping(first, engine.Options{}), back: true},
		{name: "push", before: empty, do: upping(pushed, engine.Options{}), back: true},
		{name: "boot", before: stopped, do: upping(first, engine.Options{}), back: true},
		{name: "change", before: running, do: upping(changed, engine.Options{})},
		{name: "restart", before: running, do: upping(restarted, engine.Options{Restart: true})},
		{name: "replace", before: running, do: upping(replaced, engine.Options{Replace: true})},
		{name: "stop", before: running, do: func(ctx context.Context, e *engine.Engine) error {
			_, err := e.Stop(ctx, "example", engine.DownOptions{Timeout: time.Minute})
			return err
		}},
		{name: "start", before: stopped, do: func(ctx context.Context, e *engine.Engine) error {
			_, err := e.Start(ctx, "example", engine.StartOptions{})
			return err
		}, back: true},
		{name: "down", before: running, do: downing(engine.DownOptions{Timeout: time.Minute})},
		{name: "down of a pushed one", before: func(t *testing.T, h *enginetest.Host) { up(t, h, pushed, engine.Options{}) }, do: downing(engine.DownOptions{Force: true})},
		{name: "down --volumes", before: running, do: downing(engine.DownOptions{Force: true, Volumes: true}), loses: true},
		{name: "volume create", before: empty, do: func(ctx context.Context, e *engine.Engine) error {
			return e.CreateDataVolume(ctx, "example", "spare", spec.GiB, true)
		}, back: true, again: fault.Refused},
		{name: "volume resize", before: running, do: func(ctx context.Context, e *engine.Engine) error {
			_, err := e.ResizeDataVolume(ctx, "example", "data", 3*spec.GiB)
			return err
		}},
		{name: "volume rm", before: func(t *testing.T, h *enginetest.Host) {
			require.NoError(t, on(h).CreateDataVolume(t.Context(), "example", "spare", spec.GiB, true))
		}, do: func(ctx context.Context, e *engine.Engine) error { return e.RemoveDataVolume(ctx, "example", "spare") }, again: fault.NotFound},
		{name: "list", before: running, do: func(ctx context.Context, e *engine.Engine) error {
			_, err := e.List(ctx, []spec.Machine{first.Machine}, true, engine.WithAutostart)
			return err
		}, back: true},
		{name: "image prune", before: func(t *testing.T, h *enginetest.Host) {
			up(t, h, pushed, engine.Options{})
			killed(h, 4, func() { _, _ = on(h).Up(t.Context(), otherImage(t, pushed), engine.Options{Replace: true}) })
		}, do: func(ctx context.Context, e *engine.Engine) error { _, err := e.Prune(ctx, false); return err }},
	}
}

// otherImage is the same machine from another file.
func otherImage(t *testing.T, w engine.Wanted) engine.Wanted {
	t.Helper()
	other := inFile(t)
	other.Image.ID = "sha256-fedcba9876543210"
	w.Image = other.Image
	return w
}

// stage is a host on which somebody else has something, and on which the machine's data
// volume holds something, ready for an act.
func stage(t *testing.T, a act) *enginetest.Host {
	t.Helper()
	h := enginetest.NewHost(enginetest.Options{})
	h.PlantPool(engine.Pool{Name: "vmctl", Target: "/var/lib/libvirt/images/vmctl", State: engine.PoolActive, Autostart: true})
	h.PlantVolume(engine.Volume{Name: "theirs.qcow2", Format: "qcow2", Capacity: spec.GiB}, []byte("theirs"))
	h.PlantDomain(engine.Domain{
		Name: "theirs", UUID: "11111111-2222-3333-4444-555555555555", State: engine.StateRunning, Memory: spec.GiB, CPUs: 1,
		Disks: []string{"/var/lib/libvirt/images/vmctl/theirs.qcow2"},
	})
	require.NoError(t, on(h).CreateDataVolume(t.Context(), "example", "data", spec.GiB, false))
	written(t, h, "data")
	a.before(t, h)
	return h
}

// foreign are the lines of a dump that are somebody else's.
func foreign(dump string) []string {
	var lines []string
	for part := range strings.SplitSeq(strings.ReplaceAll(dump, "\n\t", "\t"), "\n") {
		if strings.Contains(part, "theirs") || strings.HasPrefix(part, "network ") {
			lines = append(lines, part)
		}
	}
	return lines
}

// disturbance is what happens at one call of an act. It gives how the call fares.
type disturbance struct {
	name string
	at   func(h *enginetest.Host, cancel context.CancelFunc) enginetest.Fate
	// kinds are what the act may fail with.
	kinds []fault.Kind
	// lasts says that what comes after the call is disturbed, too, so that nothing can be
	// taken back.
	lasts bool
}

var errDisturbed = fault.New(fault.Other, "there is no space left on the host's disk")

var disturbances = []disturbance{
	{name: "killed", at: func(h *enginetest.Host, _ context.CancelFunc) enginetest.Fate {
		h.Cut() // what is deferred comes to nothing
		runtime.Goexit()
		return enginetest.Fate{}
	}, lasts: true},
	{name: "Ctrl-C", at: func(_ *enginetest.Host, cancel context.CancelFunc) enginetest.Fate {
		cancel()
		return enginetest.Fate{}
	}, kinds: []fault.Kind{fault.Interrupted}},
	{name: "fails", at: func(*enginetest.Host, context.CancelFunc) enginetest.Fate { return enginetest.Fate{Err: errDisturbed} }, kinds: []fault.Kind{fault.Other}},
	{name: "connection lost", at: func(h *enginetest.Host, _ context.CancelFunc) enginetest.Fate {
		h.Cut()
		return enginetest.Fate{}
	}, kinds: []fault.Kind{fault.Unreachable}, lasts: true},
	{name: "answer lost", at: func(h *enginetest.Host, _ context.CancelFunc) enginetest.Fate {
		return enginetest.Fate{Err: fault.New(fault.Unreachable, "the connection was lost"), After: true}
	}, kinds: []fault.Kind{fault.Unreachable}},
	{name: "libvirtd restarted", at: func(*enginetest.Host, context.CancelFunc) enginetest.Fate {
		// What it was at is done, and nobody hears of it.
		return enginetest.Fate{Err: fault.New(fault.Unreachable, "the connection was lost"), After: true, Cut: true}
	}, kinds: []fault.Kind{fault.Unreachable}, lasts: true},
}

// disturbed does an act and lets something happen at its n-th call. It says whether the
// act came that far.
func disturbed(t *testing.T, h *enginetest.Host, a act, d disturbance, n int64) (reached bool, err error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var count atomic.Int64
	h.Each(func(string) enginetest.Fate {
		if count.Add(1) != n {
			return enginetest.Fate{}
		}
		return d.at(h, cancel)
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		err = a.do(ctx, on(h))
	}()
	<-done
	h.Each(nil)
	h.Mend()
	reached = count.Load() >= n
	if reached && d.name == "killed" {
		err = errors.New("killed") // in whatever goroutine
	}
	return reached, err
}

// lasting is a dump without what may differ after a run that was cut short: how many root disks
// a machine has had, and a lease of this client's own, which the next down or prune removes.
func lasting(dump string) string {
	return regexp.MustCompile(`Life:\d+|(?m:^volume base-\S+\.lease .*\n)`).ReplaceAllString(dump, "")
}

// TestDisturbedAnywhere lets each thing that can go wrong happen at every call of every act.
// The same act again brings about what an undisturbed one does, a failure takes back what
// was begun, nothing of somebody else's changes, and no data is lost.
func TestDisturbedAnywhere(t *testing.T) {
	t.Parallel()
	points := 0
	for _, a := range acts(t) {
		t.Run(a.name, func(t *testing.T) {
			h := stage(t, a)
			start := h.Dump()
			require.NoError(t, a.do(t.Context(), on(h)))
			want := h.Dump()
			for _, d := range disturbances {
				for n := int64(1); ; n++ {
					h := stage(t, a)
					require.Equal(t, start, h.Dump(), "an act begins the same each time")
					reached, err := disturbed(t, h, a, d, n)
					if !reached {
						break
					}
					points++
					holds(t, h, a, d, n, err, start, want)
				}
			}
		})
	}
	t.Logf("%d points", points)
}

func holds(t *testing.T, h *enginetest.Host, a act, d disturbance, n int64, err error, start, want string) {
	t.Helper()
	now := h.Dump()
	told := []any{"%s at call %d: %v", d.name, n, err}
	if d.name != "killed" && err != nil {
		assert.Contains(t, d.kinds, fault.KindOf(err), told...)
		assert.NotContains(t, err.Error(), "failed to", told...)
		assert.LessOrEqual(t, strings.Count(err.Error(), "\n"), 1, told...) // what happened, and what is left
	}
	if err == nil {
		assert.Equal(t, lasting(want), lasting(now), told...)
	} else if a.back && !d.lasts {
		assert.Equal(t, start, now, told...)
	}
	assert.Equal(t, foreign(start), foreign(now), told...)
	err = a.do(t.Context(), on(h))
	if err != nil {
		require.Equal(t, a.again, fault.KindOf(err), told...)
		require.NotEqual(t, fault.Other, fault.KindOf(err), told...)
	}
	if !assert.Equal(t, lasting(want), lasting(h.Dump()), told...) {
		t.FailNow()
	}
	if !a.loses {
		require.True(t, precious(t, h, "data"), told...)
	}
	_, err = on(h).Down(t.Context(), "example", engine.DownOptions{Force: true, Volumes: true})
	require.NoError(t, err, told...)
	require.Equal(t, []string{"theirs.qcow2"}, h.VolumeNames(), told...)
	require.Equal(t, []string{"theirs"}, h.DomainNames(), told...)
	require.Empty(t, h.SecretIDs(), told...)
	require.Equal(t, foreign(start), foreign(h.Dump()), told...)
}
