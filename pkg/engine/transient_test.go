package engine_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
	"vmctl/pkg/engine/enginetest"
)

// A root disk that a killed up left in a pool which is not active now can be seen only
// when the pool is started: it is used, and not made a second time.
func TestRootDiskInAnInactivePool(t *testing.T) {
	h := enginetest.NewHost(enginetest.Options{})
	up(t, h, inStore(), engine.Options{})
	require.NoError(t, h.DestroyDomain(t.Context(), "example"))
	require.NoError(t, h.UndefineDomain(t.Context(), "example"))
	h.StopPool()
	assert.True(t, up(t, h, inStore(), engine.Options{}).Started)
	assert.Equal(t, engine.StateRunning, state(t, h))
}

// As after virsh undefine: the domain runs on, and vanishes when it stops.
func TestUndefinedWhileItRuns(t *testing.T) {
	h := enginetest.NewHost(enginetest.Options{})
	up(t, h, inStore(), engine.Options{})
	require.NoError(t, h.UndefineDomain(t.Context(), "example"))
	outcome := up(t, h, inStore(), engine.Options{})
	assert.Equal(t, "define domain example (its definition was removed)\nautostart domain example (autostart off → on)", outcome.Plan.String())
	assert.False(t, outcome.Started, "the guest runs on")
	assert.True(t, up(t, h, inStore(), engine.Options{}).Plan.Empty())

	require.NoError(t, h.UndefineDomain(t.Context(), "example"))
	assert.Equal(t, engine.HaltedGraceful, down(t, h).Halted)
	assert.Empty(t, h.DomainNames())
	assert.Empty(t, h.VolumeNames())
}
