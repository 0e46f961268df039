package engine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
	"vmctl/pkg/progress"
	"vmctl/pkg/spec"
)

// locks are one process's locks.
type locks struct{}

func (l *locks) Lock(context.Context, string) (func(), error) { return func() {}, nil }

func on(h *enginetest.Host) *engine.Engine {
	return &engine.Engine{
		Host: h.Connect(), Project: "/project", Version: "test", Locker: &locks{}, Sink: progress.Discard,
	}
}

func inStore() engine.Wanted {
	return engine.Wanted{
		Machine: spec.Machine{
			Name: "example", Memory: spec.GiB, CPUs: 2, Disk: 10 * spec.GiB,
			Accel: spec.AccelAuto, Firmware: spec.FirmwareBIOS, Autostart: true,
		},
		Image: engine.Image{
			ID: "nix-aaaaaaaaaaaaaaaa", Source: "images/example", Path: "/nix/store/aaaa/nixos.qcow2",
			Format: "qcow2", Size: 4 * spec.GiB, FileSize: spec.GiB, InPlace: true,
		},
	}
}

// inFile is an image that has to be uploaded.
func inFile(t *testing.T) engine.Wanted {
	w := inStore()
	path := filepath.Join(t.TempDir(), "disk.qcow2")
	require.NoError(t, os.WriteFile(path, []byte("an image"), 0o600))
	w.Image = engine.Image{
		ID: "sha256-0123456789abcdef", Source: "./disk.qcow2", Path: path,
		Format: "qcow2", Size: 4 * spec.GiB, FileSize: 8,
	}
	return w
}

func up(t *testing.T, h *enginetest.Host, w engine.Wanted, o engine.Options) *engine.Outcome {
	t.Helper()
	outcome, err := on(h).Up(t.Context(), w, o)
	require.NoError(t, err)
	return outcome
}

func down(t *testing.T, h *enginetest.Host) *engine.Removal {
	t.Helper()
	removal, err := on(h).Down(t.Context(), "example", engine.DownOptions{Timeout: time.Minute})
	require.NoError(t, err)
	return removal
}

func state(t *testing.T, h *enginetest.Host) engine.State {
	t.Helper()
	d, err := h.Domain(t.Context(), "example")
	require.NoError(t, err)
	return d.State
}

func TestUpTwiceAndDownTwice(t *testing.T) {
	for name, wanted := range map[string]func(*testing.T) engine.Wanted{
		"in place": func(*testing.T) engine.Wanted { return inStore() },
		"uploaded": inFile,
	} {
		t.Run(name, func(t *testing.T) {
			h, w := enginetest.NewHost(enginetest.Options{}), wanted(t)
			assert.True(t, up(t, h, w, engine.Options{}).Started)
			assert.Equal(t, engine.StateRunning, state(t, h))

			h.Forget()
			outcome := up(t, h, w, engine.Options{})
			assert.False(t, outcome.Started)
			assert.True(t, outcome.Plan.Empty(), outcome.Plan)
			assert.Empty(t, h.Changes(), "the second up writes nothing")
			assert.LessOrEqual(t, len(h.Calls()), 6, "and asks little: %v", h.Calls())

			assert.True(t, down(t, h).Existed)
			assert.Empty(t, h.DomainNames())
			assert.Empty(t, h.VolumeNames())
			h.Forget()
			assert.False(t, down(t, h).Existed)
			assert.Empty(t, h.Changes())
		})
	}
}

// changing are the methods that change a host.
var changing = []string{
	"DefinePool", "BuildPool", "AutostartPool", "StartPool", "CreateOverlay", "CreateVolume", "Upload",
	"ResizeVolume", "DeleteVolume", "StartNetwork", "DefineDomain", "StartDomain", "ResumeDomain",
	"ShutdownDomain", "DestroyDomain", "UndefineDomain", "SetAutostart", "SetLiveMemory", "SetLiveCPUs", "ResizeLiveDisk", "NoteApplied",
	"AttachDisk", "LendDisk", "DetachDisk", "CreateEncrypted", "DefineSecret", "SetSecret", "DeleteSecret",
}

// killed runs f in a goroutine that ends, as if by SIGKILL, right before the n-th call
// that changes the host. It says whether f came that far.
func killed(h *enginetest.Host, n int, f func()) bool {
	var count atomic.Int64
	for _, method := range changing {
		h.Before(method, func() {
			// Who is dead makes no further call, in whatever goroutine.
			if count.Add(1) >= int64(n) {
				runtime.Goexit()
			}
		})
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	<-done
	for _, method := range changing {
		h.Before(method, nil)
	}
	return count.Load() >= int64(n)
}

// scenarios are the ways to the state from which something is killed.
var scenarios = map[string]struct {
	before func(t *testing.T, h *enginetest.Host, w engine.Wanted)
	change func(w *engine.Wanted)
	o      engine.Options
}{
	"first up": {func(*testing.T, *enginetest.Host, engine.Wanted) {}, func(*engine.Wanted) {}, engine.Options{}},
	"replace": {
		func(t *testing.T, h *enginetest.Host, w engine.Wanted) { up(t, h, w, engine.Options{}) },
		func(w *engine.Wanted) { w.Machine.Disk = 5 * spec.GiB },
		engine.Options{Replace: true, StopTimeout: time.Minute},
	},
	"restart with another seed": {
		func(t *testing.T, h *enginetest.Host, w engine.Wanted) { up(t, h, w, engine.Options{}) },
		func(w *engine.Wanted) { w.Media, w.Machine.CPUs = told("b").Media, 4 },
		engine.Options{Restart: true, StopTimeout: time.Minute},
	},
	"restart with a grown disk": {
		func(t *testing.T, h *enginetest.Host, w engine.Wanted) { up(t, h, w, engine.Options{}) },
		func(w *engine.Wanted) { w.Machine.Disk, w.Machine.CPUs = 20*spec.GiB, 4 },
		engine.Options{Restart: true, StopTimeout: time.Minute},
	},
}

func TestKilledAnywhereTheNextUpHeals(t *testing.T) {
	for name, s := range scenarios {
		for source, wanted := range map[string]func(*testing.T) engine.Wanted{
			"in place": func(*testing.T) engine.Wanted { return inStore() },
			"uploaded": inFile,
			"media":    func(*testing.T) engine.Wanted { return told("a") },
		} {
			t.Run(name+", "+source, func(t *testing.T) {
				points := 0
				for n := 1; ; n++ {
					h, w := enginetest.NewHost(enginetest.Options{}), wanted(t)
					s.before(t, h, w)
					s.change(&w)
					if !killed(h, n, func() { _, _ = on(h).Up(t.Context(), w, s.o) }) {
						break
					}
					points++
					up(t, h, w, s.o)
					assert.Equal(t, engine.StateRunning, state(t, h), "point %d", n)
					again, err := on(h).Plan(t.Context(), w, engine.Options{})
					require.NoError(t, err)
					assert.True(t, again.Empty(), "point %d: %s", n, again)
					down(t, h)
					assert.Empty(t, h.DomainNames(), "point %d", n)
					assert.Empty(t, h.VolumeNames(), "point %d", n)
				}
				assert.Greater(t, points, 3)
			})
		}
	}
}

func TestKilledAnywhereTheNextDownHeals(t *testing.T) {
	t.Run("store", func(t *testing.T) { downHeals(t, inStore(), 8) })
	t.Run("file", func(t *testing.T) { downHeals(t, inFile(t), 12) })
	t.Run("media", func(t *testing.T) { downHeals(t, told("a"), 16) })
}

func downHeals(t *testing.T, w engine.Wanted, least int) {
	t.Helper()
	points := 0
	for n := 1; ; n++ {
		h := enginetest.NewHost(enginetest.Options{})
		if !killed(h, n, func() { _, _ = on(h).Up(t.Context(), w, engine.Options{}) }) {
			break
		}
		points++
		down(t, h)
		assert.Empty(t, h.DomainNames(), "point %d", n)
		assert.Empty(t, h.VolumeNames(), "point %d", n)
	}
	for n := 1; ; n++ {
		h := enginetest.NewHost(enginetest.Options{})
		up(t, h, w, engine.Options{})
		if !killed(h, n, func() { _, _ = on(h).Down(t.Context(), "example", engine.DownOptions{Force: true}) }) {
			break
		}
		points++
		down(t, h)
		assert.Empty(t, h.DomainNames(), "point %d", n)
		assert.Empty(t, h.VolumeNames(), "point %d", n)
	}
	assert.Greater(t, points, least)
}

func TestAFailureIsUndone(t *testing.T) {
	boom := fault.New(fault.Other, "boom")
	for _, method := range []string{"CreateOverlay", "CreateVolume", "Upload", "DefineDomain", "SetAutostart", "StartDomain"} {
		t.Run(method, func(t *testing.T) {
			h := enginetest.NewHost(enginetest.Options{})
			h.Fail(method, 1, boom)
			_, err := on(h).Up(t.Context(), inFile(t), engine.Options{})
			require.ErrorIs(t, err, boom)
			assert.Empty(t, h.DomainNames())
			assert.Empty(t, h.VolumeNames())
		})
	}
}

// The answer got lost, the work was done: nobody can know, and the next run heals.
func TestALostAnswerIsHealed(t *testing.T) {
	for _, method := range []string{"CreateOverlay", "Upload", "DefineDomain", "StartDomain"} {
		t.Run(method, func(t *testing.T) {
			h, w := enginetest.NewHost(enginetest.Options{}), inFile(t)
			h.FailAfter(method, 1, fault.New(fault.Unreachable, "the connection was lost"))
			_, err := on(h).Up(t.Context(), w, engine.Options{})
			require.Error(t, err)
			up(t, h, w, engine.Options{})
			assert.Equal(t, engine.StateRunning, state(t, h))
			down(t, h)
			assert.Empty(t, h.VolumeNames())
		})
	}
}

func TestCtrlCIsUndone(t *testing.T) {
	for _, method := range []string{"CreateOverlay", "DefineDomain", "SetAutostart", "StartDomain"} {
		t.Run("before "+method, func(t *testing.T) {
			h := enginetest.NewHost(enginetest.Options{})
			ctx, cancel := context.WithCancel(t.Context())
			h.Before(method, cancel)
			_, err := on(h).Up(ctx, inStore(), engine.Options{})
			require.Error(t, err)
			assert.Equal(t, fault.Interrupted, fault.KindOf(err))
			assert.Empty(t, h.DomainNames())
			assert.Empty(t, h.VolumeNames())
		})
	}
}

func TestWhatCannotBeUndoneIsSaid(t *testing.T) {
	h := enginetest.NewHost(enginetest.Options{})
	h.Fail("StartDomain", 1, fault.New(fault.Refused, "port 127.0.0.1:2222 of the host is already in use"))
	h.Fail("DeleteVolume", 1, fault.New(fault.Other, "the disk is on fire"))
	_, err := on(h).Up(t.Context(), inStore(), engine.Options{})
	require.ErrorContains(t, err, "already in use")
	require.ErrorContains(t, err, "taking back what was done: the disk is on fire")
	assert.Equal(t, fault.Refused, fault.KindOf(err))
}

func TestUpLeavesWhatWasThereBeforeItFailed(t *testing.T) {
	h := enginetest.NewHost(enginetest.Options{})
	up(t, h, inStore(), engine.Options{})
	_, err := on(h).Stop(t.Context(), "example", engine.DownOptions{Force: true})
	require.NoError(t, err)
	h.Fail("StartDomain", 1, errors.New("boom"))
	_, err = on(h).Up(t.Context(), inStore(), engine.Options{})
	require.Error(t, err)
	assert.Equal(t, []string{"example"}, h.DomainNames())
	assert.Equal(t, []string{engine.RootVolume("example")}, without(h.VolumeNames(), engine.LogVolume("example")))
}

func without(names []string, name string) []string {
	var kept []string
	for _, n := range names {
		if n != name {
			kept = append(kept, n)
		}
	}
	return kept
}

func TestAPoolThatIsNotActiveHidesNothing(t *testing.T) {
	h, w := enginetest.NewHost(enginetest.Options{}), inStore()
	up(t, h, w, engine.Options{})
	h.StopPool()
	h.Forget()
	w.Machine.Autostart = false
	outcome := up(t, h, w, engine.Options{})
	assert.False(t, outcome.Started, "the guest runs on")
	assert.Equal(t, []string{"BuildPool", "StartPool", "SetAutostart"}, methods(h.Changes()))
	assert.Len(t, outcome.Plan.Ops, 3, "all that was done is told")

	h.StopPool()
	assert.True(t, down(t, h).Existed)
	assert.Empty(t, h.VolumeNames(), "what is in the pool is found all the same")
}

func TestARootDiskThatWasPutBackIsSeen(t *testing.T) {
	h := enginetest.NewHost(enginetest.Options{})
	up(t, h, inStore(), engine.Options{})
	_, err := on(h).Stop(t.Context(), "example", engine.DownOptions{Force: true})
	require.NoError(t, err)
	disk, err := h.Volume(t.Context(), engine.RootVolume("example"))
	require.NoError(t, err)
	require.NoError(t, h.DeleteVolume(t.Context(), disk.Name))
	h.PutBack(*disk, []byte("from a backup"))
	plan := up(t, h, inStore(), engine.Options{}).Plan
	assert.Equal(t, "start domain example (shut off)", plan.String())
	assert.Equal(t, "from a backup", read(t, h, disk.Name))
}

// methods are the names of calls without their arguments.
func methods(calls []string) []string {
	names := make([]string, len(calls))
	for i, call := range calls {
		names[i], _, _ = strings.Cut(call, " ")
		names[i], _, _ = strings.Cut(names[i], "(")
	}
	return names
}

// Two clients know nothing of each other's locks.
func TestWhatAnotherClientStartedIsNotUndone(t *testing.T) {
	for _, method := range []string{"SetAutostart", "StartDomain"} {
		t.Run("before "+method, func(t *testing.T) {
			h, w := enginetest.NewHost(enginetest.Options{}), inStore()
			h.Before(method, func() {
				h.Before(method, nil)
				assert.True(t, up(t, h, w, engine.Options{}).Started)
				if method == "SetAutostart" {
					h.Fail(method, 1, fault.New(fault.Other, "boom"))
				}
			})
			_, err := on(h).Up(t.Context(), w, engine.Options{})
			require.ErrorContains(t, err, "example was started by somebody else at the same moment, and is left as it is")
			assert.Equal(t, engine.StateRunning, state(t, h))
			assert.Contains(t, h.VolumeNames(), engine.RootVolume("example"))
			assert.True(t, up(t, h, w, engine.Options{}).Plan.Empty())
		})
	}
}

func TestForeignDomainsAreNeverTouched(t *testing.T) {
	h := enginetest.NewHost(enginetest.Options{})
	h.PlantDomain(engine.Domain{Name: "example", UUID: "11111111-2222-3333-4444-555555555555", State: engine.StateRunning})
	h.Forget()
	e := on(h)
	for verb, run := range map[string]func() error{
		"up": func() error {
			_, err := e.Up(t.Context(), inStore(), engine.Options{Replace: true, Adopt: true})
			return err
		},
		"down":  func() error { _, err := e.Down(t.Context(), "example", engine.DownOptions{Force: true}); return err },
		"stop":  func() error { _, err := e.Stop(t.Context(), "example", engine.DownOptions{Force: true}); return err },
		"start": func() error { _, err := e.Start(t.Context(), "example", engine.StartOptions{}); return err },
	} {
		err := run()
		require.Error(t, err, verb)
		assert.Equal(t, fault.Refused, fault.KindOf(err), verb)
	}
	assert.Empty(t, h.Changes())
}

func TestAMachineOfANewerVmctlIsOnlyLookedAt(t *testing.T) {
	h := enginetest.NewHost(enginetest.Options{})
	up(t, h, inStore(), engine.Options{})
	d := *domain(t, h)
	d.Record.Version++
	h.PlantDomain(d)
	h.Forget()
	e := on(h)
	for verb, run := range map[string]func() error{
		"up": func() error {
			_, err := e.Up(t.Context(), inStore(), engine.Options{Replace: true, Adopt: true})
			return err
		},
		"down": func() error {
			_, err := e.Down(t.Context(), "example", engine.DownOptions{Force: true, Volumes: true})
			return err
		},
		"stop":          func() error { _, err := e.Stop(t.Context(), "example", engine.DownOptions{Force: true}); return err },
		"start":         func() error { _, err := e.Start(t.Context(), "example", engine.StartOptions{}); return err },
		"volume create": func() error { return e.CreateDataVolume(t.Context(), "example", "more", spec.GiB, false) },
		"volume rm":     func() error { return e.RemoveDataVolume(t.Context(), "example", "more") },
	} {
		err := run()
		require.ErrorContains(t, err, "machine example was made by a newer vmctl (test)", verb)
		assert.Equal(t, fault.Refused, fault.KindOf(err), verb)
	}
	assert.Empty(t, h.Changes())
	shown, err := e.Look(t.Context(), "example")
	require.NoError(t, err)
	assert.Equal(t, engine.RecordVersion+1, shown.Record.Version)
}

func TestStopping(t *testing.T) {
	for name, tc := range map[string]struct {
		guest enginetest.Guest
		o     engine.DownOptions
		want  string
	}{
		"obeys the power button": {enginetest.Guest{}, engine.DownOptions{Timeout: time.Minute}, engine.HaltedGraceful},
		"obeys its agent":        {enginetest.Guest{Agent: true}, engine.DownOptions{Timeout: time.Minute}, engine.HaltedGraceful},
		"ignores everything":     {enginetest.Guest{IgnoresShutdown: true}, engine.DownOptions{Timeout: 50 * time.Millisecond}, engine.HaltedDestroyed},
		"forced":                 {enginetest.Guest{}, engine.DownOptions{Timeout: time.Minute, Force: true}, engine.HaltedDestroyed},
	} {
		t.Run(name, func(t *testing.T) {
			h := enginetest.NewHost(enginetest.Options{})
			h.SetGuest("example", tc.guest)
			up(t, h, inStore(), engine.Options{})
			how, err := on(h).Stop(t.Context(), "example", tc.o)
			require.NoError(t, err)
			assert.Equal(t, tc.want, how)
			assert.Equal(t, engine.StateShutOff, state(t, h))
			how, err = on(h).Stop(t.Context(), "example", tc.o)
			require.NoError(t, err)
			assert.Equal(t, engine.HaltedAlready, how)
			started, err := on(h).Start(t.Context(), "example", engine.StartOptions{})
			require.NoError(t, err)
			assert.True(t, started.Booted)
		})
	}
}

func TestAnAgentThatKeepsSilentIsNotWaitedForLonger(t *testing.T) {
	h := enginetest.NewHost(enginetest.Options{})
	h.SetGuest("example", enginetest.Guest{Agent: true})
	up(t, h, inStore(), engine.Options{})
	silent := make(chan struct{})
	defer close(silent)
	h.Before("ShutdownDomain", func() { <-silent })
	how, err := on(h).Stop(t.Context(), "example", engine.DownOptions{Timeout: 50 * time.Millisecond})
	require.NoError(t, err)
	assert.Equal(t, engine.HaltedDestroyed, how)
}

func TestStoppingIsInterruptedAndCut(t *testing.T) {
	h := enginetest.NewHost(enginetest.Options{})
	h.SetGuest("example", enginetest.Guest{IgnoresShutdown: true})
	up(t, h, inStore(), engine.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	h.Before("ShutdownDomain", cancel)
	_, err := on(h).Stop(ctx, "example", engine.DownOptions{Timeout: time.Minute})
	require.Error(t, err)
	assert.Equal(t, fault.Interrupted, fault.KindOf(err))
	h.Before("ShutdownDomain", func() { go h.Cut() })
	_, err = on(h).Stop(t.Context(), "example", engine.DownOptions{Timeout: time.Minute})
	require.Error(t, err)
	assert.Equal(t, fault.Unreachable, fault.KindOf(err))
}

func TestTheConsoleIsAttachedBeforeTheFirstInstruction(t *testing.T) {
	h := enginetest.NewHost(enginetest.Options{})
	var seen engine.State
	up(t, h, inStore(), engine.Options{BeforeBoot: func(context.Context) error { seen = state(t, h); return nil }})
	assert.Equal(t, engine.StatePaused, seen)
	assert.Equal(t, engine.StateRunning, state(t, h))

	down(t, h)
	_, err := on(h).Up(t.Context(), inStore(), engine.Options{BeforeBoot: func(context.Context) error { return fault.New(fault.Refused, "somebody else looks") }})
	require.EqualError(t, err, "somebody else looks")
	assert.Empty(t, h.DomainNames(), "a guest whose console cannot be attached is taken back")
}

func TestNoGuestIsStartedOnAnImageThatIsNotKept(t *testing.T) {
	h, w := enginetest.NewHost(enginetest.Options{}), inStore()
	w.Image.Kept = func() error {
		assert.Equal(t, engine.StateShutOff, state(t, h))
		return errors.New("it has been collected")
	}
	_, err := on(h).Up(t.Context(), w, engine.Options{})
	require.ErrorContains(t, err, "it has been collected")
	assert.Empty(t, h.DomainNames(), "it is undone")
	assert.Empty(t, h.VolumeNames())

	w.Image.Kept = func() error { return nil }
	assert.True(t, up(t, h, w, engine.Options{}).Started)
}

func TestTwoMachinesShareAnUploadedImage(t *testing.T) {
	h := enginetest.NewHost(enginetest.Options{})
	first := inFile(t)
	second := first
	second.Machine.Name = "other"
	up(t, h, first, engine.Options{})
	h.Forget()
	up(t, h, second, engine.Options{})
	for _, call := range h.Changes() {
		assert.NotContains(t, call, "Upload")
	}
	down(t, h)
	assert.Contains(t, fmt.Sprint(h.VolumeNames()), engine.BaseVolume(first.Image, engine.Token{}), "still in use")
	_, err := on(h).Down(t.Context(), "other", engine.DownOptions{Force: true})
	require.NoError(t, err)
	assert.Empty(t, h.VolumeNames())
}

func TestListMergesDeclaredAndManaged(t *testing.T) {
	h := enginetest.NewHost(enginetest.Options{})
	up(t, h, inStore(), engine.Options{})
	h.PlantDomain(engine.Domain{Name: "foreign", UUID: "11111111-2222-3333-4444-555555555555", State: engine.StateShutOff})
	only := inStore().Machine
	only.Name, only.Image = "only-declared", spec.Image{Ref: "images/x"}
	rows, err := on(h).List(t.Context(), []spec.Machine{only}, false, engine.Briefly)
	require.NoError(t, err)
	require.Len(t, rows, 2)
	assert.Equal(t, "example", rows[0].Name)
	assert.Equal(t, engine.StateRunning, rows[0].Domain.State)
	assert.Equal(t, "images/example", rows[0].Image)
	assert.Equal(t, "only-declared", rows[1].Name)
	assert.Nil(t, rows[1].Domain)
	rows, err = on(h).List(t.Context(), nil, true, engine.Briefly)
	require.NoError(t, err)
	assert.Len(t, rows, 2, "all shows foreign ones too")
}
