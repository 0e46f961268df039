package engine_test

import (
	"context"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
	"vmctl/pkg/engine/enginetest"
	"vmctl/pkg/spec"
)

// withPort is a machine of a name with one automatic port for ssh.
func withPort(name string) engine.Wanted {
	w := inStore()
	w.Machine.Name, w.Machine.Network = name, spec.NetworkUser
	w.Machine.Ports = []spec.Port{{Address: netip.MustParseAddr("127.0.0.1"), Guest: 22, Protocol: spec.TCP, Auto: true}}
	return w
}

func TestPortsAreChosenAndRemembered(t *testing.T) {
	h := enginetest.NewHost(enginetest.Options{})
	e := on(h)
	first, err := e.Up(t.Context(), withPort("example"), engine.Options{})
	require.NoError(t, err)
	port := first.Ports[0].Host
	assert.NotZero(t, port)

	again, err := e.Up(t.Context(), withPort("example"), engine.Options{})
	require.NoError(t, err)
	assert.True(t, again.Plan.Empty(), "%s", again.Plan)
	assert.Equal(t, port, again.Ports[0].Host)

	// Another machine that would take the same one, as two whose names lead there do.
	e.PortFree = func(_ context.Context, p spec.Port) bool { return p.Host != port+1 }
	for _, name := range []string{"web", "db"} {
		other, err := e.Up(t.Context(), withPort(name), engine.Options{})
		require.NoError(t, err)
		assert.NotEqual(t, port, other.Ports[0].Host)
		assert.NotEqual(t, port+1, other.Ports[0].Host)
	}
}

func TestAPortThatIsTakenAfterAllIsLeft(t *testing.T) {
	h := enginetest.NewHost(enginetest.Options{})
	e := on(h)
	// The plan tells which one it would be; somebody else gets it first.
	planned, err := e.Up(t.Context(), withPort("example"), engine.Options{})
	require.NoError(t, err)
	port := planned.Ports[0].Host
	_, err = e.Down(t.Context(), "example", engine.DownOptions{})
	require.NoError(t, err)
	h.Fail("StartDomain", 1, &engine.PortTakenError{Port: port})

	outcome, err := e.Up(t.Context(), withPort("example"), engine.Options{})
	require.NoError(t, err)
	assert.NotEqual(t, port, outcome.Ports[0].Host)
	assert.True(t, outcome.Started)

	d, err := h.Connect().Domains.Domain(t.Context(), "example")
	require.NoError(t, err)
	assert.Equal(t, outcome.Ports, d.Record.Ports, "it is remembered")
}

func TestAPortThatWasNamedIsNotChanged(t *testing.T) {
	h := enginetest.NewHost(enginetest.Options{})
	w := withPort("example")
	w.Machine.Ports[0].Auto, w.Machine.Ports[0].Host = false, 2222
	h.Fail("StartDomain", 1, &engine.PortTakenError{Port: 2222})
	_, err := on(h).Up(t.Context(), w, engine.Options{})
	require.ErrorContains(t, err, "port 2222 of the host is already in use")
}

// A guest whose agent keeps silent holds up nobody.
func TestListAsksAllAtOnce(t *testing.T) {
	h := enginetest.NewHost(enginetest.Options{})
	e := on(h)
	names := []string{"a", "b", "c"}
	for _, name := range names {
		w := inStore()
		w.Machine.Name = name
		h.SetGuest(name, enginetest.Guest{Agent: true, Addresses: []string{"192.0.2.1"}})
		_, err := e.Up(t.Context(), w, engine.Options{})
		require.NoError(t, err)
	}
	arrived := make(chan struct{}, len(names))
	all := make(chan struct{})
	go func() {
		for range names {
			<-arrived
		}
		close(all)
	}()
	h.Before("Addresses", func() {
		arrived <- struct{}{}
		<-all // deadlocks unless all are asked at once
	})
	rows, err := e.List(t.Context(), nil, false, engine.Briefly)
	require.NoError(t, err)
	for _, r := range rows {
		assert.Equal(t, []string{"192.0.2.1"}, r.Addresses)
	}
}
