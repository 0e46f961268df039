package engine_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
	"vmctl/pkg/engine/enginetest"
	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

const canary = "correct horse battery staple"

// secretive is a machine that is handed a secret.
func secretive() engine.Wanted {
	w := inStore()
	w.Delivery = &engine.Delivery{Names: []string{"db"}, Read: func(context.Context) ([][]byte, error) { return [][]byte{[]byte(canary)}, nil }}
	return w
}

// byFirmware has its secrets in files that QEMU reads.
func byFirmware() engine.Wanted {
	w := inStore()
	w.Machine.SecretsBy = spec.CarrierFirmware
	w.Delivery = &engine.Delivery{
		Names: []string{"db", "host key"}, Credentials: []string{"db", "tmpfiles.extra"},
		Read: func(context.Context) ([][]byte, error) {
			return [][]byte{[]byte(canary[:10]), []byte(canary[10:])}, nil
		},
	}
	return w
}

func takes(h *enginetest.Host) {
	h.SetGuest("example", enginetest.Guest{Agent: true, TakesSecrets: true})
}

// overwritten holds whoever deletes a disk with secrets to having overwritten it: what is deleted alone stays
// on the host's disk. The function that it gives looks at the last one.
func overwritten(t *testing.T, h *enginetest.Host) (look func()) {
	t.Helper()
	disk := func() string {
		names := h.VolumeNames()
		if at := slices.IndexFunc(names, func(name string) bool { return strings.Contains(name, "secrets") }); at >= 0 {
			return names[at]
		}
		return ""
	}
	held := false
	look = func() { assert.False(t, held && disk() == "", "the disk was deleted with the secret on it") }
	h.Before("DeleteVolume", func() {
		look()
		name := disk()
		held = name != "" && strings.Contains(read(t, h, name), canary)
	})
	return look
}

// nothingSecret holds the host to having nothing of the secret.
func nothingSecret(t *testing.T, h *enginetest.Host) {
	t.Helper()
	for _, name := range h.VolumeNames() {
		assert.NotContains(t, name, "secrets")
		if strings.Contains(name, "fw_cfg") {
			assert.Empty(t, read(t, h, name), name)
		}
		assert.NotContains(t, read(t, h, name), canary, name)
	}
}

func TestADeliveryLeavesNothing(t *testing.T) {
	h := enginetest.NewHost(enginetest.Options{})
	takes(h)
	defer overwritten(t, h)()
	outcome := up(t, h, secretive(), engine.Options{})
	require.True(t, outcome.Delivering)
	assert.NotContains(t, outcome.Plan.String(), canary)
	assert.Equal(t, canary, string(h.Taken("example")))
	require.NoError(t, on(h).Deliver(t.Context(), "example", nil, time.Minute))
	nothingSecret(t, h)

	h.Forget()
	outcome = up(t, h, secretive(), engine.Options{})
	assert.True(t, outcome.Plan.Empty(), outcome.Plan)
	assert.False(t, outcome.Delivering)
	assert.Empty(t, h.Changes())
}

// What is taken back is overwritten, too.
func TestADeliveryThatIsTakenBackIsOverwritten(t *testing.T) {
	for name, wanted := range map[string]func() engine.Wanted{"on a disk": secretive, "by firmware": byFirmware} {
		t.Run(name, func(t *testing.T) {
			h := enginetest.NewHost(enginetest.Options{})
			look := overwritten(t, h)
			for _, start := range []string{"StartDomain", "StartDomainWith", "ResumeDomain", "LendDisk"} {
				h.Fail(start, 1, fault.New(fault.Other, "no luck"))
			}
			_, err := on(h).Up(t.Context(), wanted(), engine.Options{})
			require.ErrorContains(t, err, "no luck")
			look()
			nothingSecret(t, h)
			changes := h.Changes()
			for i, change := range changes {
				if volume, ok := strings.CutPrefix(change, "DeleteVolume "); ok && (strings.Contains(volume, "fw_cfg") || strings.Contains(volume, "secrets")) {
					assert.True(t, strings.HasPrefix(changes[i-1], "Upload "+volume), "%s is overwritten before it is deleted, not: %s", volume, changes[i-1])
				}
			}
			assert.Contains(t, strings.Join(changes, "\n"), "DeleteVolume example.")
		})
	}
}

// Killed before any call of up with secrets: the next up hands them over and leaves
// nothing, and so do down and stop.
func TestADeliveryKilledAnywhere(t *testing.T) {
	for _, then := range []string{"up", "down", "stop"} {
		t.Run(then, func(t *testing.T) { killedAnywhere(t, then, secretive) })
		t.Run(then+" by firmware", func(t *testing.T) { killedAnywhere(t, then, byFirmware) })
	}
}

func killedAnywhere(t *testing.T, then string, wanted func() engine.Wanted) {
	t.Helper()
	points := 0
	for n := 1; ; n++ {
		h := enginetest.NewHost(enginetest.Options{})
		takes(h)
		if !killed(h, n, func() { _, _ = on(h).Up(t.Context(), wanted(), engine.Options{}) }) {
			break
		}
		points++
		look := overwritten(t, h)
		if then == "stop" && len(h.DomainNames()) > 0 {
			_, err := on(h).Stop(t.Context(), "example", engine.DownOptions{Force: true})
			require.NoError(t, err)
		}
		if then != "up" {
			down(t, h)
			look()
			assert.Empty(t, h.VolumeNames(), "point %d", n)
			continue
		}
		outcome := up(t, h, wanted(), engine.Options{})
		if outcome.Delivering {
			require.NoError(t, on(h).Deliver(t.Context(), "example", nil, time.Minute))
		}
		assert.Equal(t, canary, string(h.Taken("example")), "point %d: %s", n, outcome.Plan)
		assert.Equal(t, engine.StateRunning, state(t, h))
		look()
		nothingSecret(t, h)
		again := up(t, h, wanted(), engine.Options{})
		assert.True(t, again.Plan.Empty(), "point %d: %s", n, again.Plan)
	}
	assert.Greater(t, points, 5)
}

// What goes by the firmware is there for each boot that vmctl begins, gone when the start
// has returned, and waits for a boot when it changes.
func TestADeliveryByFirmware(t *testing.T) {
	h := enginetest.NewHost(enginetest.Options{})
	outcome := up(t, h, byFirmware(), engine.Options{})
	changes, gone := h.Changes(), 0
	for i, change := range changes {
		if volume, ok := strings.CutPrefix(change, "DeleteVolume "); ok && strings.Contains(volume, "fw_cfg") {
			assert.True(t, strings.HasPrefix(changes[i-1], "Upload "+volume), "%s is overwritten before it is deleted, not: %s", volume, changes[i-1])
			gone++
		}
	}
	assert.Equal(t, 2, gone)
	assert.False(t, outcome.Delivering, "the guest has nothing to give back")
	assert.NotContains(t, outcome.Plan.String(), canary[:10])
	assert.Contains(t, h.Changes(), "StartDomainWith example opt/io.systemd.credentials/db opt/io.systemd.credentials/tmpfiles.extra")
	assert.Equal(t, canary, string(h.Taken("example")))
	nothingSecret(t, h)
	h.Forget()
	assert.True(t, up(t, h, byFirmware(), engine.Options{}).Plan.Empty())
	assert.Empty(t, h.Changes())

	more := byFirmware()
	more.Delivery.Names = []string{"db", "more", "host key"}
	outcome = up(t, h, more, engine.Options{})
	assert.Equal(t, []string{"secrets db, host key → db, more, host key"}, outcome.Plan.Pending)
	assert.Equal(t, outcome.Plan.Pending, up(t, h, more, engine.Options{}).Plan.Pending, "it goes on waiting")
	h.Forget()
	up(t, h, more, engine.Options{Restart: true})
	assert.Contains(t, h.Changes(), "StartDomainWith example opt/io.systemd.credentials/db opt/io.systemd.credentials/tmpfiles.extra")
	nothingSecret(t, h)

	_, err := on(h).Stop(t.Context(), "example", engine.DownOptions{Force: true})
	require.NoError(t, err)
	assert.NotContains(t, strings.Join(h.VolumeNames(), " "), "fw_cfg", "the guest is off")
	started, err := on(h).Start(t.Context(), "example", engine.StartOptions{Delivery: more.Delivery})
	require.NoError(t, err)
	assert.True(t, started.Booted)
	assert.False(t, started.Delivering)
	nothingSecret(t, h)
}

// A guest that wakes from saved memory names its files by itself.
func TestADeliveryToSavedMemory(t *testing.T) {
	h := enginetest.NewHost(enginetest.Options{})
	up(t, h, byFirmware(), engine.Options{})
	d := domain(t, h)
	h.PowerOff("example")
	d.State, d.Live, d.ManagedSave = engine.StateShutOff, nil, true
	h.PlantDomain(*d)
	h.Forget()
	up(t, h, byFirmware(), engine.Options{})
	assert.Contains(t, h.Changes(), "StartDomain example")
	nothingSecret(t, h)
}

func TestADeliveryThatIsNotTaken(t *testing.T) {
	for name, tc := range map[string]struct {
		guest enginetest.Guest
		ready bool
		limit time.Duration
		do    func(h *enginetest.Host, cancel func())
		kind  fault.Kind
		says  string
	}{
		"in time":     {limit: time.Millisecond, kind: fault.Timeout, says: "example has not taken its secrets"},
		"kept":        {guest: enginetest.Guest{KeepsDisks: true}, limit: time.Millisecond, kind: fault.Timeout, says: "not taken"},
		"stopped":     {do: func(h *enginetest.Host, _ func()) { h.PowerOff("example") }, kind: fault.Other, says: "stopped before it had taken its secrets"},
		"interrupted": {do: func(_ *enginetest.Host, cancel func()) { cancel() }, kind: fault.Interrupted, says: "interrupted before"},
	} {
		t.Run(name, func(t *testing.T) {
			h := enginetest.NewHost(enginetest.Options{})
			h.SetGuest("example", tc.guest)
			require.True(t, up(t, h, secretive(), engine.Options{}).Delivering)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if tc.do != nil {
				tc.do(h, cancel)
			}
			err := on(h).Deliver(ctx, "example", nil, tc.limit)
			require.ErrorContains(t, err, tc.says)
			assert.Equal(t, tc.kind, fault.KindOf(err))
			nothingSecret(t, h)
		})
	}
}
