package engine_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
	"vmctl/pkg/engine/enginetest"
	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// meddling is what somebody else does on the host in the middle of an act.
type meddling struct {
	name string
	do   func(t *testing.T, h *enginetest.Host)
	// loses says that it deletes the data volume.
	loses bool
}

const foreignUUID = "99999999-2222-3333-4444-555555555555"

func meddlings() []meddling {
	delete := func(volume string) func(*testing.T, *enginetest.Host) {
		return func(t *testing.T, h *enginetest.Host) { _ = h.DeleteVolume(t.Context(), volume) }
	}
	return []meddling{
		{name: "the guest crashes", do: func(_ *testing.T, h *enginetest.Host) { h.Crash("example") }},
		{name: "the guest powers off", do: func(_ *testing.T, h *enginetest.Host) { h.PowerOff("example") }},
		{name: "virsh start", do: func(t *testing.T, h *enginetest.Host) { _ = h.StartDomain(t.Context(), "example", false) }},
		{name: "virsh undefine", do: func(t *testing.T, h *enginetest.Host) { _ = h.UndefineDomain(t.Context(), "example") }},
		{name: "virsh destroy, undefine", do: func(t *testing.T, h *enginetest.Host) {
			h.PowerOff("example")
			_ = h.UndefineDomain(t.Context(), "example")
		}},
		{name: "virsh vol-delete of the root disk", do: delete(engine.RootVolume("example"))},
		{name: "virsh vol-delete of a volume", do: delete(engine.DataVolume("example", "old"))},
		{name: "virsh vol-delete of the data", do: delete(engine.DataVolume("example", "data")), loses: true},
		{name: "virsh vol-resize", do: func(t *testing.T, h *enginetest.Host) {
			_ = h.ResizeVolume(t.Context(), engine.DataVolume("example", "data"), 7*spec.GiB/4)
		}},
		{name: "virsh pool-destroy", do: func(_ *testing.T, h *enginetest.Host) { h.StopPool() }},
		{name: "virsh net-destroy", do: func(_ *testing.T, h *enginetest.Host) {
			h.PlantNetwork(engine.Network{Name: spec.NetworkDefault})
		}},
		{name: "a domain of the same name", do: func(_ *testing.T, h *enginetest.Host) {
			if len(h.DomainNames()) == 1 {
				h.PlantDomain(engine.Domain{Name: "example", UUID: foreignUUID, State: engine.StateRunning, Memory: spec.GiB, CPUs: 1})
			}
		}},
		{name: "a domain of the same UUID", do: func(_ *testing.T, h *enginetest.Host) {
			if len(h.DomainNames()) == 1 {
				h.PlantDomain(engine.Domain{Name: "twin", UUID: engine.UUID("example"), Memory: spec.GiB, CPUs: 1})
			}
		}},
	}
}

// TestSomebodyElseMeddlesAnywhere lets somebody else change or remove what an act is about
// before each of its calls. What is said has one of vmctl's exit codes; what is somebody
// else's stays; no data is lost that they did not delete; and when they are done, up brings
// about the machine, and down --volumes removes it.
func TestSomebodyElseMeddlesAnywhere(t *testing.T) {
	t.Parallel()
	points := 0
	for _, a := range acts(t) {
		t.Run(a.name, func(t *testing.T) {
			for _, m := range meddlings() {
				at := disturbance{name: m.name, at: func(h *enginetest.Host, _ context.CancelFunc) enginetest.Fate {
					h.Each(nil) // theirs are not counted
					m.do(t, h)
					return enginetest.Fate{}
				}}
				for n := int64(1); ; n++ {
					h := stage(t, a)
					reached, err := disturbed(t, h, a, at, n)
					if !reached {
						break
					}
					points++
					survives(t, h, a, m, n, err)
				}
			}
		})
	}
	t.Logf("%d points", points)
}

func survives(t *testing.T, h *enginetest.Host, a act, m meddling, n int64, err error) {
	t.Helper()
	told := []any{"%s at call %d: %v", m.name, n, err}
	if err != nil {
		assert.Contains(t, []fault.Kind{fault.NotFound, fault.Refused}, fault.KindOf(err), told...)
		assert.NotContains(t, err.Error(), "failed to", told...)
	}
	planted := map[string]string{}
	for _, name := range []string{"example", "twin", "theirs"} {
		d, err := h.Domain(t.Context(), name)
		if err == nil && d.Record == nil {
			planted[name] = d.UUID + string(d.State)
		}
	}
	assert.Contains(t, planted, "theirs", told...)
	if len(planted) > 1 {
		for _, again := range []act{a, acts(t)[0]} {
			_ = again.do(t.Context(), on(h)) // whatever it says, it touches nothing of theirs
		}
		for name, was := range planted {
			d, err := h.Domain(t.Context(), name)
			require.NoError(t, err, told...)
			require.Equal(t, was, d.UUID+string(d.State), told...)
		}
		for name := range planted {
			if name != "theirs" {
				h.PowerOff(name)
				require.NoError(t, h.UndefineDomain(t.Context(), name))
			}
		}
	}
	w := withVolumes(volume("data", 3*spec.GiB), volume("old", spec.GiB))
	_, err = on(h).Up(t.Context(), w, engine.Options{Replace: true})
	require.NoError(t, err, told...)
	settledAgain(t, h, w)
	if !a.loses && !m.loses {
		require.True(t, precious(t, h, "data"), told...)
	}
	_, err = on(h).Down(t.Context(), "example", engine.DownOptions{Force: true, Volumes: true})
	require.NoError(t, err, told...)
	_, err = on(h).Prune(t.Context(), false)
	require.NoError(t, err, told...)
	require.Equal(t, []string{"theirs.qcow2"}, h.VolumeNames(), told...)
	require.Equal(t, []string{"theirs"}, h.DomainNames(), told...)
	require.Empty(t, h.SecretIDs(), told...)
}
