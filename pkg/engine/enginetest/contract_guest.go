package enginetest

import (
	"io"
	"os"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// await reads until want has come.
func (s *suite) await(r io.Reader, want string) {
	s.Helper()
	var got strings.Builder
	buffer := make([]byte, 256)
	deadline := time.Now().Add(patience)
	for !strings.Contains(got.String(), want) {
		require.True(s, time.Now().Before(deadline), "waited for %q, got %q", want, got.String())
		n, err := r.Read(buffer)
		got.Write(buffer[:n])
		require.NoError(s, err, "waited for %q, got %q", want, got.String())
	}
}

// attach opens the console; it is closed when the test ends.
func (s *suite) attach(force bool) io.ReadWriteCloser {
	s.Helper()
	c, err := s.host.Consoles.OpenConsole(s.Context(), Machine, force)
	s.ok(err)
	s.Cleanup(func() { _ = c.Close() })
	return c
}

func guest(s *suite) {
	s.needs(s.features.Guests, "guests")
	ctx := s.Context()
	s.start(s.makeDisks(), true)
	c := s.attach(false)
	s.ok(s.host.Domains.ResumeDomain(ctx, Machine))
	s.await(c, Greeting)
	_, err := io.WriteString(c, "hello, guest")
	s.ok(err)
	s.await(c, "hello, guest")

	// The log appeared by itself in the pool's directory.
	require.Contains(s, s.printed(), Greeting+"hello, guest")
	some, err := s.host.Volumes.ListVolumes(ctx, engine.LogVolume(Machine))
	s.ok(err)
	require.Len(s, some, 1)

	connected, err := s.host.Events.AgentConnected(ctx, Machine)
	s.ok(err)
	require.False(s, connected)
	s.is(fault.Refused, s.host.Domains.ShutdownDomain(ctx, Machine, engine.ShutdownAgent), "asking an agent that is not there")
	addresses, err := s.host.Networks.Addresses(ctx, Machine)
	s.ok(err)
	require.Empty(s, addresses)

	s.ok(s.host.Domains.DestroyDomain(ctx, Machine))
	_, err = io.Copy(io.Discard, c)
	s.ok(err) // EOF: the domain stopped
	s.ok(s.host.Domains.StartDomain(ctx, Machine, true))
	require.Empty(s, s.printed(), "each boot begins the log anew")
}

// printed is what the console's log has.
func (s *suite) printed() string {
	s.Helper()
	var all strings.Builder
	s.ok(engine.NewConsoleLog(s.host.Volumes, Machine).Replay(s.Context(), &all, engine.Whole))
	return all.String()
}

func consoles(s *suite) {
	s.needs(s.features.Guests, "guests")
	ctx := s.Context()
	d := s.makeDisks()
	s.ok(s.host.Domains.DefineDomain(ctx, d))
	_, err := s.host.Consoles.OpenConsole(ctx, Machine, false)
	s.is(fault.Refused, err, "attaching to what is off")
	s.start(d, false)

	first := s.attach(false)
	_, err = s.host.Consoles.OpenConsole(ctx, Machine, false)
	s.is(fault.Refused, err, "attaching twice")
	second := s.attach(true)
	_, err = io.Copy(io.Discard, first)
	s.is(fault.Refused, err, "being thrown out")
	s.ok(first.Close())
	s.echo(second, "second")

	// Close unblocks a Read that waits, and makes room for the next viewer.
	failed := make(chan error)
	go func() {
		buffer := make([]byte, 1)
		_, err := second.Read(buffer)
		for err == nil {
			_, err = second.Read(buffer)
		}
		failed <- err
	}()
	s.ok(second.Close())
	require.ErrorIs(s, <-failed, os.ErrClosed)
	s.ok(second.Close())
	s.echo(s.attach(false), "third")
}

// echo types a word until it comes back: a guest that has not booted yet swallows it.
func (s *suite) echo(c io.ReadWriter, word string) {
	s.Helper()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			if _, err := io.WriteString(c, word); err != nil {
				return
			}
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	}()
	s.await(c, word)
}

func powerButton(s *suite) {
	s.needs(s.features.Guests, "guests")
	ctx := s.Context()
	watch, err := s.host.Events.Watch(ctx, Machine)
	s.ok(err)
	s.start(s.makeDisks(), true)
	c := s.attach(false)
	s.ok(s.host.Domains.ResumeDomain(ctx, Machine))
	s.await(c, Greeting)
	s.ok(s.host.Domains.ShutdownDomain(ctx, Machine, engine.ShutdownACPI))
	s.event(watch, engine.EventStopped)
	_, err = io.Copy(io.Discard, c)
	s.ok(err)
	require.Equal(s, engine.StateShutOff, s.domain(Machine).State)
}

func liveMemory(s *suite) {
	s.needs(s.features.Guests, "guests")
	s.start(s.makeDisks(), false)
	s.ok(s.host.Domains.SetLiveMemory(s.Context(), Machine, 32*spec.MiB))
	got := s.domain(Machine)
	require.Equal(s, 32*spec.MiB, got.Live.Record.Memory, "what was asked for is noted")
	require.Equal(s, 64*spec.MiB, got.Live.MaxMemory)
	require.Equal(s, 64*spec.MiB, got.Memory, "the definition stays")
	require.Equal(s, 64*spec.MiB, got.Record.Memory)
	s.is(fault.Refused, s.host.Domains.SetLiveMemory(s.Context(), Machine, spec.GiB), "more than it was started with")
	s.is(fault.Refused, s.host.Domains.SetLiveCPUs(s.Context(), Machine, 2), "more CPUs than it was started with")
}

func liveDisk(s *suite) {
	s.needs(s.features.Guests, "guests")
	d := s.makeDisks()
	s.start(d, false)
	s.ok(s.host.Domains.ResizeLiveDisk(s.Context(), Machine, d.Root, 8*spec.MiB))
	v, err := s.host.Volumes.Volume(s.Context(), engine.RootVolume(Machine))
	s.ok(err)
	require.Equal(s, 8*spec.MiB, v.Capacity)
}
