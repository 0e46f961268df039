package enginetest_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
	"vmctl/pkg/engine/enginetest"
	"vmctl/pkg/fault"
)

func TestPlantedFailures(t *testing.T) {
	ctx := t.Context()
	fake := enginetest.NewHost(enginetest.Options{})
	h := fake.Connect()
	broken := errors.New("broken")
	fake.Fail("SetAutostart", 2, broken)
	fake.FailAfter("DestroyDomain", 1, broken)
	fake.PlantDomain(engine.Domain{Name: "a", UUID: "foreign", State: engine.StateRunning})

	require.NoError(t, h.Domains.SetAutostart(ctx, "a", true))
	require.ErrorIs(t, h.Domains.SetAutostart(ctx, "a", false), broken)
	require.ErrorIs(t, h.Domains.DestroyDomain(ctx, "a"), broken)
	d, err := h.Domains.Domain(ctx, "a")
	require.NoError(t, err)
	assert.True(t, d.Autostart, "the second call did nothing")
	assert.Equal(t, engine.StateShutOff, d.State, "destroying did its work before it failed")
	assert.Equal(t, []string{"SetAutostart a true", "SetAutostart a false", "DestroyDomain a"}, fake.Changes())
	assert.Equal(t, append(fake.Changes(), "Domain a"), fake.Calls())
	assert.Equal(t, []string{"a"}, fake.DomainNames())
}

func TestCutAndMend(t *testing.T) {
	fake := enginetest.NewHost(enginetest.Options{})
	h := fake.Connect()
	fake.PlantDomain(engine.Domain{Name: "a", State: engine.StateRunning})
	watch, err := h.Events.Watch(t.Context(), "a")
	require.NoError(t, err)
	console, err := h.Consoles.OpenConsole(t.Context(), "a", false)
	require.NoError(t, err)
	fake.Cut()
	var last engine.Event
	for e := range watch {
		last = e
	}
	assert.Equal(t, engine.EventDisconnected, last.Kind)
	_, err = console.Read(make([]byte, 1))
	assert.Equal(t, fault.Unreachable, fault.KindOf(err))
	_, err = h.Domains.Domain(t.Context(), "a")
	assert.Equal(t, fault.Unreachable, fault.KindOf(err))
	fake.Mend()
	_, err = fake.Connect().Domains.Domain(t.Context(), "a")
	assert.NoError(t, err)
}

func TestGuestsThatDoNotObey(t *testing.T) {
	ctx := t.Context()
	fake := enginetest.NewHost(enginetest.Options{})
	fake.SetGuest("a", enginetest.Guest{IgnoresShutdown: true, Agent: true})
	fake.PlantDomain(engine.Domain{Name: "a", State: engine.StateRunning})
	h := fake.Connect()
	connected, err := h.Events.AgentConnected(ctx, "a")
	require.NoError(t, err)
	assert.True(t, connected)
	require.NoError(t, h.Domains.ShutdownDomain(ctx, "a", engine.ShutdownAgent))
	require.NoError(t, h.Domains.ShutdownDomain(ctx, "a", engine.ShutdownACPI))
	d, err := h.Domains.Domain(ctx, "a")
	require.NoError(t, err)
	assert.Equal(t, engine.StateRunning, d.State)
	fake.PowerOff("a")
	d, err = h.Domains.Domain(ctx, "a")
	require.NoError(t, err)
	assert.Equal(t, engine.StateShutOff, d.State)
}
