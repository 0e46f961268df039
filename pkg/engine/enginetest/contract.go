package enginetest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
)

// Features say what a host can do beyond keeping definitions.
type Features struct {
	// Content: volumes have bytes that can be uploaded, read and resized.
	Content bool
	// Guests really run: they print to a console and its log, take memory, obey the
	// power button.
	Guests bool
	// Files: disks that are not there are missed when a domain starts.
	Files bool
}

// Machine is the name of the contract's machine. A fake host must give it
// Guest{Prints: Greeting, Echo: true}.
const Machine = "contract"

// patience bounds every wait: software emulation on a busy machine is slow.
const patience = 60 * time.Second

// Run holds a host to the contract of the engine's interfaces. newHost gives a
// connection to a host without domains and without vmctl's pool, of the test's own.
func Run(t *testing.T, newHost func(t *testing.T) *engine.Host, f Features) {
	t.Helper()
	for _, c := range []struct {
		name string
		run  func(*suite)
	}{
		{"NothingThere", nothingThere},
		{"Pool", poolLife},
		{"VolumeNames", volumeNames},
		{"VolumeContent", volumeContent},
		{"Define", define},
		{"DefineClash", defineClash},
		{"RecordSurvives", recordSurvives},
		{"Lifecycle", lifecycle},
		{"RunningKeepsItsDefinition", runningKeepsItsDefinition},
		{"List", list},
		{"Events", events},
		{"WatchEnds", watchEnds},
		{"EndedContext", endedContext},
		{"MissingDisk", missingDisk},
		{"Guest", guest},
		{"Console", consoles},
		{"Channel", channels},
		{"NoteReady", noteReady},
		{"NoteApplied", noteApplied},
		{"PowerButton", powerButton},
		{"Reservations", reservations},
		{"Screens", screens},
		{"LiveMemory", liveMemory},
		{"LiveDisk", liveDisk},
		{"ExtraDisks", extraDisks},
		{"AttachDisk", attachDisk},
		{"LendDisk", lendDisk},
		{"FirmwareFiles", firmwareFiles},
		{"DiskUsers", diskUsers},
		{"Encrypted", encrypted},
		{"Moves", moves},
		{"Lengths", lengths},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.run(&suite{T: t, host: newHost(t), features: f})
		})
	}
}

// suite is one test of the contract.
type suite struct {
	*testing.T
	host     *engine.Host
	features Features
}

func (s *suite) needs(feature bool, what string) {
	s.Helper()
	if !feature {
		s.Skipf("this host has no %s", what)
	}
}

// is requires an error of a kind.
func (s *suite) is(kind fault.Kind, err error, does string) {
	s.Helper()
	require.Error(s, err, does)
	require.Equal(s, kind, fault.KindOf(err), "%s: %v", does, err)
}

// ok requires success.
func (s *suite) ok(err error) {
	s.Helper()
	if err != nil {
		require.NoError(s, err, "hint: %s", fault.HintOf(err))
	}
}

// makePool makes the pool.
func (s *suite) makePool() engine.Pool {
	s.Helper()
	pool, err := makePool(s.Context(), s.host)
	s.ok(err)
	return pool
}

// makeDisks makes all that the contract's machine is defined from.
func (s *suite) makeDisks() engine.Definition {
	s.Helper()
	d, err := Prepare(s.Context(), s.host, s.features.Content)
	s.ok(err)
	return d
}

// start defines and starts the machine; it is destroyed and undefined when the test ends.
func (s *suite) start(d engine.Definition, paused bool) {
	s.Helper()
	s.ok(s.host.Domains.DefineDomain(s.Context(), d))
	s.ok(s.host.Domains.StartDomain(s.Context(), d.Machine.Name, paused))
	s.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = s.host.Domains.DestroyDomain(ctx, d.Machine.Name)
		_ = s.host.Domains.UndefineDomain(ctx, d.Machine.Name)
	})
}

// domain reads the machine.
func (s *suite) domain(name string) *engine.Domain {
	s.Helper()
	d, err := s.host.Domains.Domain(s.Context(), name)
	s.ok(err)
	return d
}

// event waits for an event of a kind and passes over others.
func (s *suite) event(events <-chan engine.Event, kind engine.EventKind) {
	s.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case e, open := <-events:
			require.True(s, open, "the watch ended before %q", kind)
			if e.Kind == kind {
				return
			}
		case <-timer.C:
			require.Fail(s, "no event", "waited for %q", kind)
		}
	}
}
