//go:build e2e

package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
	"vmctl/pkg/engine/enginetest"
	"vmctl/pkg/testenv"
)

// scenario is a command that gets disturbed. Adding one is a line in scenarios.
type scenario struct {
	name string
	// ready takes the machine from "not there" to where the command begins.
	ready func(t *testing.T, s *stage)
	// command is what is disturbed, and run again.
	command []string
	// remote runs it on a host that shares no files with the client.
	remote bool
	// back says that Ctrl-C takes back all of it, until the guest runs.
	back bool
	// after removes what down does not.
	after []string
	// moves says that the command takes the machine mover to the stage's other host, in place of what victim is for.
	moves bool
	// killedAt looks at what a kill has left, before the command is run again.
	killedAt func(t *testing.T, s *stage, k int)
	// killed and interrupted say at every how many-th point that is tried on each change.
	killed, interrupted int
}

func scenarios() []scenario {
	up := []string{"up", "--no-wait", "victim"}
	define := func(lines ...string) func(*testing.T, *stage) {
		return func(t *testing.T, s *stage) { s.machine(t, "victim", append(lines, "volumes: {data: 64MiB}")...) }
	}
	first := define("disk: 256MiB", "firmware: efi", "tpm: true")
	// The first in a home directory: what it writes there is made anew.
	cold := func(ready func(*testing.T, *stage)) func(*testing.T, *stage) {
		return func(t *testing.T, s *stage) {
			for _, dir := range []string{"wrappers", "builds", "digests"} {
				require.NoError(t, os.RemoveAll(filepath.Join(s.p.home, ".cache/vmctl", dir)))
			}
			ready(t, s)
		}
	}
	running := func(then func(*testing.T, *stage)) func(*testing.T, *stage) {
		return func(t *testing.T, s *stage) {
			first(t, s)
			s.ok(t, up...)
			then(t, s)
		}
	}
	file, large := define("image: ./disk.img"), define("image: ./large.img")
	return []scenario{
		{name: "up", ready: cold(first), command: up, back: true, killed: 5, interrupted: 40},
		{name: "push", ready: cold(file), command: up, remote: true, back: true, killed: 50, interrupted: 100},
		{name: "push by content", ready: large, command: up, remote: true, killed: 50, interrupted: 100},
		{name: "replace", ready: running(func(t *testing.T, s *stage) {
			s.ok(t, "stop", "--force", "victim")
			define("disk: 128MiB", "firmware: efi", "tpm: true")(t, s)
		}), command: []string{"up", "--no-wait", "--replace", "victim"}, killed: 50, interrupted: 100},
		{name: "grow", ready: running(define("disk: 512MiB", "firmware: efi", "tpm: true")), command: up, killed: 50, interrupted: 100},
		{name: "volume resize", ready: func(t *testing.T, s *stage) {
			define()(t, s)
			s.ok(t, "volume", "create", "victim/spare", "64MiB")
		}, command: []string{"volume", "resize", "victim/spare", "128MiB"}, after: []string{"volume", "rm", "--yes", "victim/spare"}, killed: 50, interrupted: 100},
		{name: "down", ready: running(func(*testing.T, *stage) {}), command: []string{"down", "--force", "victim"}, killed: 5, interrupted: 40},
		{name: "migrate", ready: readyToMove, command: []string{"migrate", "--cold", mover, "server"}, moves: true, killedAt: usableOnce, killed: 60},
	}
}

// machine is whom the scenario is about.
func (sc scenario) machine() string {
	if sc.moves {
		return mover
	}
	return "victim"
}

// stage is where scenarios are played: a project with a pool, an image that is a file, a
// data volume with something in it, and what somebody else has on the host.
type stage struct {
	*project
	// t is the test that the stage lives as long as.
	t      *testing.T
	others *bystander
	// host are the options that name a host which shares no files with the client.
	host   []string
	before census
	// second is another host, once it is asked for.
	second *elsewhere
}

const patterned = "-P 0xd4 64k 128k"

func newStage(t *testing.T) *stage {
	t.Helper()
	p := root(t)
	testenv.Tool(t, "qemu-io", "swtpm")
	pr := p.project(t)
	require.NoError(t, os.WriteFile(filepath.Join(pr.dir, "disk.img"), enginetest.BootDisk(), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(pr.dir, "large.img"), enginetest.BootDisk(), 0o644))
	require.NoError(t, os.Truncate(filepath.Join(pr.dir, "large.img"), 64<<20))
	pr.machine(t, "victim", "firmware: efi", "volumes: {data: 64MiB}")
	pr.ok(t, "volume", "create", "victim/data", "64MiB") // makes the pool
	server := testenv.SSH(t)
	server.Trust(t)
	s := &stage{project: pr, t: t, others: p.bystander(t), host: []string{"-c", server.URI()}}
	qemuIO(t, "write "+patterned, s.data())
	s.warm(t)
	s.before = p.look(t)
	t.Cleanup(func() { _ = os.Remove(s.data()) })
	return s
}

// warm makes caches before the census is taken: QEMU's capabilities, the image.
func (s *stage) warm(t *testing.T) {
	t.Helper()
	s.ok(t, "up", "--no-wait", "victim")
	s.ok(t, "down", "--force", "victim")
	// vmctl itself, which goes to a host that images are pushed to by content.
	s.machine(t, "victim", "image: ./large.img")
	for _, verb := range [][]string{{"up", "--no-wait"}, {"down", "--force"}} {
		s.ok(t, append(append(slices.Clone(s.host), verb...), "victim")...)
	}
}

func (s *stage) data() string { return filepath.Join(s.p.pool, engine.DataVolume("victim", "data")) }

func qemuIO(t *testing.T, command, file string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "qemu-io", "-f", "qcow2", "-c", command, file).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NotContains(t, string(out), "verification failed")
}

// args are a command's, on the scenario's host.
func (s *stage) args(sc scenario, args ...string) []string {
	if !sc.remote {
		return args
	}
	return append(append([]string{}, s.host...), args...)
}

// traced runs vmctl and calls at before each of its write-like system calls.
func (s *stage) traced(t *testing.T, args []string, at func(testenv.Point) error) (result, syscall.WaitStatus) {
	t.Helper()
	dir := testenv.Dir(t, "")
	out, err := os.Create(filepath.Join(dir, "out"))
	require.NoError(t, err)
	defer out.Close()
	diag, err := os.Create(filepath.Join(dir, "err"))
	require.NoError(t, err)
	defer diag.Close()
	cmd := s.p.command(t, s.dir, "vmctl", args...)
	cmd.Stdout, cmd.Stderr = out, diag
	ws, err := testenv.Trace(cmd, at)
	require.NoError(t, err)
	said := func(f *os.File) string {
		content, err := os.ReadFile(f.Name())
		require.NoError(t, err)
		return string(bytes.ToValidUTF8(content, nil))
	}
	code := ws.ExitStatus()
	return result{said(out), said(diag), code}, ws
}

// mend takes away what a failed test has left, so that the next one begins with nothing.
func (s *stage) mend(t *testing.T) {
	t.Helper()
	for _, args := range [][]string{
		{"down", "--force", "victim"}, {"volume", "rm", "--yes", "victim/spare"}, {"migrate", "--give-up", mover, "server"},
		{"down", "--force", "--volumes", "--yes", mover}, {"-H", "server", "down", "--force", "--volumes", "--yes", mover},
	} {
		_ = s.vmctl(t, args...) // it may be gone
	}
	s.before = s.p.look(t)
}

// state is what there is of the scenario's machine, on all hosts.
func (s *stage) state(t *testing.T, sc scenario) string {
	t.Helper()
	here := s.p.state(t, sc.machine())
	if s.second == nil {
		return here
	}
	return here + "\non the other host:\n" + s.second.state(t, sc.machine())
}

// settled waits until two looks, one after the other, see the same.
func (s *stage) settled(t *testing.T, sc scenario) string {
	t.Helper()
	return settled(t, func() string { return s.state(t, sc) })
}

// clean takes down what a scenario left, and checks that nothing else is there, that what is
// somebody else's is as it was, and that no data is lost.
func (s *stage) clean(t *testing.T, sc scenario) {
	t.Helper()
	if sc.moves {
		s.second.clean(t, s)
	} else {
		s.ok(t, s.args(sc, "down", "--force", "victim")...)
	}
	if sc.after != nil {
		s.ok(t, sc.after...)
	}
	s.p.nothingLeft(t, s.before)
	s.others.untouched(t)
	qemuIO(t, "read "+patterned, s.data())
}
