package guest_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
	"vmctl/pkg/engine/enginetest"
	"vmctl/pkg/fault"
	"vmctl/pkg/guest"
	"vmctl/pkg/progress"
	"vmctl/pkg/spec"
)

type noLocks struct{}

func (noLocks) Lock(context.Context, string) (func(), error) { return func() {}, nil }

// boot starts a guest that behaves as g.
func boot(t *testing.T, g enginetest.Guest) *enginetest.Host {
	t.Helper()
	h := enginetest.NewHost(enginetest.Options{})
	h.SetGuest("example", g)
	e := engine.Engine{Host: h.Connect(), Locker: noLocks{}, Sink: progress.Discard}
	_, err := e.Up(t.Context(), engine.Wanted{
		Machine: spec.Machine{Name: "example", Memory: spec.GiB, CPUs: 1, Network: spec.NetworkUser, Accel: spec.AccelAuto, Firmware: spec.FirmwareBIOS},
		Image:   engine.Image{ID: "nix-a", Path: "/nix/store/a/x.qcow2", Format: "qcow2", Size: spec.GiB, InPlace: true},
	}, engine.Options{})
	require.NoError(t, err)
	return h
}

func wait(ctx context.Context, h *enginetest.Host, timeout time.Duration, sink progress.Sink) (string, error) {
	outcome, err := guest.Wait(ctx, h.Connect(), "example", guest.Options{Timeout: timeout, Sink: sink})
	return outcome.How, err
}

func TestReady(t *testing.T) {
	for name, tc := range map[string]struct {
		guest enginetest.Guest
		later string
		want  string
	}{
		"agent":             {enginetest.Guest{Agent: true}, "", guest.ByAgent},
		"login":             {enginetest.Guest{Prints: "booting\r\n\r\nexample login: "}, "", guest.ByLogin},
		"NixOS login":       {enginetest.Guest{Prints: "\x1b[32mexample\x1b[0m login: "}, "", guest.ByLogin},
		"login comes later": {enginetest.Guest{Prints: "last login: yesterday\r\nbooting"}, "\r\nexample login: ", guest.ByLogin},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := boot(t, tc.guest)
				if tc.later != "" {
					time.AfterFunc(3*time.Second, func() { h.Print("example", tc.later) })
				}
				how, err := wait(t.Context(), h, time.Minute, progress.Discard)
				require.NoError(t, err)
				assert.Equal(t, tc.want, how)
			})
		})
	}
}

func TestNotReady(t *testing.T) {
	const printed = "one\r\n\x1b]0;title\x07two\r\nthree"
	for name, tc := range map[string]struct {
		happens func(h *enginetest.Host, cancel context.CancelFunc)
		kind    fault.Kind
		want    string
		details string
	}{
		"too slow": {
			func(*enginetest.Host, context.CancelFunc) {}, fault.Timeout,
			"example was not ready within 10s: its guest agent did not answer and its console asked for no login; it has not come beyond the firmware",
			"the last lines of its console:\n  one\n  two\n  three",
		},
		"the host's disk is full": {
			func(h *enginetest.Host, _ context.CancelFunc) { h.FillDisk("example") }, fault.Refused,
			"example is paused: there is no room left on qemu:///system for what it writes to its disks", "the last lines of its console:\n  one\n  two\n  three",
		},
		"stops": {
			func(h *enginetest.Host, _ context.CancelFunc) { _ = h.DestroyDomain(context.Background(), "example") }, fault.Other,
			"example stopped before it was ready", "the last lines of its console:\n  one\n  two\n  three",
		},
		"connection lost": {
			func(h *enginetest.Host, _ context.CancelFunc) { h.Cut() }, fault.Unreachable,
			"the connection to qemu:///system was lost while example was booting; it runs on", "",
		},
		"Ctrl-C": {
			func(_ *enginetest.Host, cancel context.CancelFunc) { cancel() }, fault.Interrupted,
			"interrupted; example keeps booting", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := boot(t, enginetest.Guest{Prints: printed})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				time.AfterFunc(2*time.Second, func() { tc.happens(h, cancel) })
				_, err := wait(ctx, h, 10*time.Second, progress.Discard)
				require.EqualError(t, err, tc.want)
				assert.Equal(t, tc.kind, fault.KindOf(err))
				assert.NotEmpty(t, fault.HintOf(err))
				var detailed fault.Detailer
				if tc.details != "" && assert.ErrorAs(t, err, &detailed) {
					assert.Equal(t, tc.details, detailed.Details())
				}
			})
		})
	}
}

func TestAGuestThatStoppedBeforeTheWaitIsNotWaitedFor(t *testing.T) {
	h := boot(t, enginetest.Guest{Prints: "no bootable device"})
	require.NoError(t, h.DestroyDomain(t.Context(), "example"))
	_, err := wait(t.Context(), h, time.Minute, progress.Discard)
	require.EqualError(t, err, "example stopped before it was ready")
}

func TestTheConsolesLatestLineIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := boot(t, enginetest.Guest{Prints: strings.Repeat("noise\r\n", 10000) + "Starting sshd\x1b[K\r\n"})
		time.AfterFunc(time.Second, func() { h.Print("example", "\r\nexample login: ") })
		var details []string
		_, err := wait(t.Context(), h, time.Minute, progress.Func(func(e progress.Event) { details = append(details, e.Detail) }))
		require.NoError(t, err)
		assert.Contains(t, details, "Starting sshd")
	})
}

// An interruption may hit any call: the sentence stays the same.
func TestInterruptedInACall(t *testing.T) {
	for _, method := range []string{"Watch", "AgentConnected", "Domain", "ReadLog"} {
		t.Run(method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := boot(t, enginetest.Guest{Prints: "booting"})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				h.Before(method, cancel)
				_, err := wait(ctx, h, time.Minute, progress.Discard)
				require.EqualError(t, err, "interrupted; example keeps booting")
				assert.Equal(t, fault.Interrupted, fault.KindOf(err))
			})
		})
	}
}
