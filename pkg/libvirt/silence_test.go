package libvirt_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/libvirt"
	"vmctl/pkg/testenv"
)

// A host that takes everything and answers nothing any more ends all that waits for it,
// however many calls that are, and whoever comes later at once.
func TestHostThatFallsSilent(t *testing.T) {
	testenv.Host(t)
	link := testenv.RPC(t, testenv.Shape{})
	told := make(chan bool, 100)
	h, closer, err := libvirt.Open(t.Context(), link.URI(), libvirt.WithPulse(20*time.Millisecond, 200*time.Millisecond), libvirt.WithSilence(func(silent bool) { told <- silent }))
	require.NoError(t, err)
	_, err = h.Inspector.Versions(t.Context())
	require.NoError(t, err)
	watch, err := h.Events.Watch(t.Context(), "")
	require.NoError(t, err)

	link.Stall()
	failed := make(chan error)
	for range 8 {
		go func() {
			_, err := h.Inspector.Versions(t.Context())
			failed <- err
		}()
	}
	for range 8 {
		err := <-failed
		require.Equal(t, fault.Unreachable, fault.KindOf(err), "%v", err)
		require.ErrorContains(t, err, "does not answer any more")
		require.NotEmpty(t, fault.HintOf(err))
	}
	assert.True(t, <-told)
	assert.Equal(t, engine.EventDisconnected, (<-watch).Kind)
	require.ErrorContains(t, h.Domains.UndefineDomain(t.Context(), machine), "does not answer any more")
	require.NoError(t, closer.Close())
}

// One that is only slow is waited for, and that is told of.
func TestHostThatIsSlow(t *testing.T) {
	testenv.Host(t)
	link := testenv.RPC(t, testenv.Shape{})
	told := make(chan bool, 100)
	h, closer, err := libvirt.Open(t.Context(), link.URI(), libvirt.WithPulse(10*time.Millisecond, time.Minute), libvirt.WithSilence(func(silent bool) { told <- silent }))
	require.NoError(t, err)
	link.Stall()
	answered := make(chan error)
	go func() {
		_, err := h.Inspector.Versions(t.Context())
		answered <- err
	}()
	assert.True(t, <-told)
	link.Mend()
	require.NoError(t, <-answered)
	assert.False(t, <-told)
	require.NoError(t, closer.Close())
}

// Who wants to leave while something is changed on a host that is silent leaves soon, and what would
// be taken back there is not waited for.
func TestInterruptedOnASilentHost(t *testing.T) {
	testenv.Host(t)
	link := testenv.RPC(t, testenv.Shape{})
	h, closer, err := libvirt.Open(t.Context(), link.URI())
	require.NoError(t, err)
	link.Stall()
	ctx, cancel := context.WithCancel(t.Context())
	link.AtCall(link.Calls()+1, cancel)
	err = h.Domains.UndefineDomain(ctx, machine)
	require.Equal(t, fault.Interrupted, fault.KindOf(err), "%v", err)
	require.ErrorContains(t, h.Pools.StartPool(t.Context()), "does not answer any more")
	require.NoError(t, closer.Close())
}
