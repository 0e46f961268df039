package guest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/fault"
	"vmctl/pkg/guest"
	"vmctl/pkg/progress"
)

// nixos is a directory that looks like a NixOS guest to the script, which really runs; what
// stands in are systemd and nix-env, by small scripts.
type nixos struct {
	t   *testing.T
	dir string
	// down says that nobody gets in; spare that the other way works all the same.
	down, spare atomic.Bool
}

const fakeSystemdRun = `#!/bin/sh
unit= post=
while :; do
	case $1 in
	--unit=*) unit=${1#--unit=} ;;
	--property=ExecStopPost=*) post=${1#--property=ExecStopPost=} ;;
	--setenv=*) export "${1#--setenv=}" ;;
	--*) ;;
	*) break ;;
	esac
	shift
done
[ ! -e DIR/nounits ] || { echo 'Failed to start transient service unit' >&2; exit 1; }
{ setsid sh -c 'echo $$ >DIR/unit; "$@"' sh "$@"; sh -c "$post"; rm -f DIR/unit; } >/dev/null 2>&1 </dev/null &
until [ -s DIR/unit ] || grep -q . DIR/run/vmctl-system/state; do sleep 0.01; done
`

const fakeSystemctl = `#!/bin/sh
case $1 in
is-active) [ -s DIR/unit ] && echo active ;;
list-units) cat DIR/failed 2>/dev/null ;;
esac
`

const fakeNixEnv = `#!/bin/sh
echo "$*" >>DIR/calls
profile=$2
last=$(ls -d "$profile"-*-link | sed 's/.*-\([0-9]*\)-link/\1/' | sort -n | tail -n 1)
case $3 in
--set)
	[ ! -e DIR/nospace ] || { echo 'No space left on device' >&2; exit 1; }
	n=$((last + 1)); ln -s "$4" "$profile-$n-link"; ln -sfn "system-$n-link" "$profile" ;;
--switch-generation) ln -sfn "system-$4-link" "$profile" ;;
--delete-generations) rm "$profile-$4-link" ;;
esac
`

func newNixOS(t *testing.T) *nixos {
	t.Helper()
	g := &nixos{t: t, dir: t.TempDir()}
	for _, dir := range []string{"etc", "run/wrappers/bin", "run/systemd/system", "nix/var/nix/profiles"} {
		require.NoError(t, os.MkdirAll(filepath.Join(g.dir, dir), 0o755))
	}
	g.write("etc/NIXOS", "")
	for name, text := range map[string]string{"systemd-run": fakeSystemdRun, "systemctl": fakeSystemctl, "nix-env": fakeNixEnv} {
		g.write("run/wrappers/bin/"+name, text)
	}
	first := g.system("first", "")
	profile := filepath.Join(g.dir, "nix/var/nix/profiles/system")
	require.NoError(t, os.Symlink(first, profile+"-1-link"))
	require.NoError(t, os.Symlink("system-1-link", profile))
	require.NoError(t, os.Symlink(first, filepath.Join(g.dir, "run/current-system")))
	require.NoError(t, os.Symlink(first, filepath.Join(g.dir, "run/booted-system")))
	t.Cleanup(func() {
		if pid, err := strconv.Atoi(g.read("unit")); err == nil {
			_ = exec.Command("kill", "-KILL", "--", "-"+strconv.Itoa(pid)).Run()
		}
	})
	return g
}

// write writes a program or a file; DIR in it is the guest's root.
func (g *nixos) write(name, text string) {
	g.t.Helper()
	require.NoError(g.t, os.WriteFile(filepath.Join(g.dir, name), []byte(strings.ReplaceAll(text, "DIR", g.dir)), 0o755))
}

func (g *nixos) read(name string) string {
	data, _ := os.ReadFile(filepath.Join(g.dir, name))
	return strings.TrimSpace(string(data))
}

// system makes a system, whose activation does what NixOS's does and then some more.
func (g *nixos) system(name, more string) string {
	g.t.Helper()
	rel := "store/" + fmt.Sprintf("%032d", len(name)) + "-" + name
	require.NoError(g.t, os.MkdirAll(filepath.Join(g.dir, rel, "bin"), 0o755))
	_ = os.Symlink("/"+name, filepath.Join(g.dir, rel, "kernel")) // it may be there
	g.write(filepath.Join(rel, "bin/switch-to-configuration"), `#!/bin/sh
echo "`+name+` $1" >>DIR/calls
echo "activating `+name+`"
[ "$1" = boot ] || ln -sfn DIR/`+rel+` DIR/run/current-system
`+more+"\n")
	return filepath.Join(g.dir, rel)
}

// Run runs a command as it would run in the guest.
func (g *nixos) Run(ctx context.Context, c guest.Command) (int, error) {
	argv := make([]string, len(c.Argv))
	for i, word := range c.Argv {
		for _, root := range []string{"/run/", "/nix/var/", "/etc/"} {
			word = strings.ReplaceAll(word, " "+root, " "+g.dir+root)
			word = strings.ReplaceAll(word, "="+root, "="+g.dir+root)
			word = strings.ReplaceAll(word, ":"+root, ":"+g.dir+root)
			word = strings.ReplaceAll(word, `"`+root, `"`+g.dir+root)
		}
		argv[i] = word
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = c.Stdout, c.Stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() >= 0 {
		return exit.ExitCode(), nil
	}
	return 0, err
}

var errDown = fault.New(fault.Unreachable, "no ssh server answers")

func (g *nixos) change(system string) *guest.Change {
	return &guest.Change{
		Machine: "web", System: system, Mode: guest.ModeSwitch, Limit: time.Minute, Lease: 20 * time.Second, Pace: 20 * time.Millisecond,
		Network: func(context.Context) (guest.Runner, error) {
			if g.down.Load() || g.read("cut") != "" {
				return nil, errDown
			}
			return g, nil
		},
		Spare: func(context.Context) (guest.Runner, error) {
			if !g.spare.Load() {
				return nil, errDown
			}
			return g, nil
		},
		Running: func(context.Context) (bool, error) { return true, nil },
		Ready:   func(context.Context) error { return nil },
		Sink:    progress.Discard,
	}
}

func (g *nixos) state() guest.SystemState {
	g.t.Helper()
	s, err := guest.Look(g.t.Context(), g, "")
	require.NoError(g.t, err)
	return s
}

// unchanged checks that the guest runs and boots what it did at first, and that nothing of
// the trial is left.
func (g *nixos) unchanged() {
	g.t.Helper()
	s := g.state()
	assert.Equal(g.t, g.dir+"/store/00000000000000000000000000000005-first", s.Current)
	assert.Equal(g.t, s.Current, s.Profile)
	assert.Equal(g.t, 1, s.Generation)
	assert.Len(g.t, s.Generations, 1)
	g.swept()
}

func (g *nixos) swept() {
	g.t.Helper()
	require.Eventually(g.t, func() bool { return g.read("unit") == "" }, 10*time.Second, 10*time.Millisecond)
	_, err := os.Lstat(filepath.Join(g.dir, "nix/var/nix/gcroots/vmctl-system"))
	assert.ErrorIs(g.t, err, os.ErrNotExist)
}

func TestChangeIsKeptOnceItIsConfirmed(t *testing.T) {
	t.Parallel()
	g := newNixOS(t)
	second := g.system("second", "")
	c := g.change(second)
	c.Ready = func(context.Context) error {
		// Until then what boots next is the old one: a crash would go back.
		assert.Equal(t, 1, g.state().Generation)
		assert.Equal(t, second, g.state().Current)
		return nil
	}
	log, err := c.Run(t.Context())
	require.NoError(t, err, log)
	assert.Contains(t, log, "activating second")
	s := g.state()
	assert.Equal(t, []any{second, second, 2}, []any{s.Current, s.Profile, s.Generation})
	assert.Equal(t, "second test\n-p "+g.dir+"/nix/var/nix/profiles/system --set "+second+"\nsecond boot", g.read("calls"))
	g.swept()

	// Back to the first, which has its number already.
	c = g.change(s.Generations[0].System)
	c.Generation = 1
	_, err = c.Run(t.Context())
	require.NoError(t, err)
	s = g.state()
	assert.Equal(t, 1, s.Generation)
	assert.Len(t, s.Generations, 2, "the newer one stays")
}

func TestModesOfAChange(t *testing.T) {
	t.Parallel()
	g := newNixOS(t)
	second := g.system("second", "")
	c := g.change(second)
	c.Mode = guest.ModeTest
	_, err := c.Run(t.Context())
	require.NoError(t, err)
	assert.Equal(t, second, g.state().Current)
	assert.Equal(t, 1, g.state().Generation)

	third := g.system("third", "")
	c = g.change(third)
	c.Mode = guest.ModeBoot
	_, err = c.Run(t.Context())
	require.NoError(t, err)
	assert.Equal(t, second, g.state().Current)
	assert.Equal(t, third, g.state().Profile)
}

// TestChangeGoesBack: whatever goes wrong, the guest runs and boots what it did before.
func TestChangeGoesBack(t *testing.T) {
	for name, test := range map[string]struct {
		system string
		spoil  func(*nixos, *guest.Change)
		kind   fault.Kind
		says   string
	}{
		"the activation fails": {"echo no such user; exit 4", nil, fault.Other, "switch-to-configuration ended with 4"},
		"it never ends":        {"sleep 1000", func(_ *nixos, c *guest.Change) { c.Limit = 2 * time.Second }, fault.Timeout, "was not activated within"},
		"it is never ready": {"", func(_ *nixos, c *guest.Change) {
			c.Ready = func(context.Context) error { return fault.New(fault.Timeout, "web was not ready within 5m") }
		}, fault.Timeout, "runs its previous system again: web was not ready within 5m"},
		"the network is gone": {"echo cut >DIR/cut", func(_ *nixos, c *guest.Change) { c.Lease = time.Second }, fault.Unreachable, "web runs its previous system again"},
		"the network alone is gone": {"echo cut >DIR/cut", func(g *nixos, c *guest.Change) {
			g.spare.Store(true)
			c.Lease = 2 * time.Second
		}, fault.Unreachable, "web runs its previous system again"},
		"it cannot be kept":       {"", func(g *nixos, _ *guest.Change) { g.write("nospace", "") }, fault.Other, "could not be kept"},
		"its boot loader fails":   {`[ "$1" != boot ]`, nil, fault.Other, "could not be kept"},
		"somebody stops the unit": {"kill -s KILL -- -$(cat DIR/unit)", nil, fault.Other, "was stopped in the guest"},
		"no unit can be started":  {"", func(g *nixos, _ *guest.Change) { g.write("nounits", "") }, fault.Other, "the guest could not begin to change its system: Failed to start"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newNixOS(t)
			// What breaks the network mends it again on the way back, as a real system does.
			g.system("first", "rm -f DIR/cut")
			c := g.change(g.system("second", test.system))
			if test.spoil != nil {
				test.spoil(g, c)
			}
			_, err := c.Run(t.Context())
			require.ErrorContains(t, err, test.says)
			assert.Equal(t, test.kind, fault.KindOf(err))
			g.unchanged()
		})
	}
}

func TestInterruptedChangeGoesBack(t *testing.T) {
	for name, more := range map[string]string{"while it activates": "echo >DIR/begun; sleep 1000", "while it waits": "echo >DIR/begun"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newNixOS(t)
			c := g.change(g.system("second", more))
			c.Ready = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				for {
					if _, err := os.Stat(filepath.Join(g.dir, "begun")); err == nil {
						cancel()
						return
					}
					time.Sleep(10 * time.Millisecond)
				}
			}()
			_, err := c.Run(ctx)
			require.ErrorContains(t, err, "interrupted; web runs its previous system")
			assert.Equal(t, fault.Interrupted, fault.KindOf(err))
			g.unchanged()
		})
	}
}

// TestGuestGoesBackAlone: this side is gone for good, as after kill -9.
func TestGuestGoesBackAlone(t *testing.T) {
	t.Parallel()
	g := newNixOS(t)
	second := g.system("second", "")
	c := g.change(second)
	c.Lease = 4 * time.Second
	c.Running = func(context.Context) (bool, error) { return false, nil }
	c.Ready = func(context.Context) error {
		g.down.Store(true)
		return nil
	}
	_, err := c.Run(t.Context())
	require.ErrorContains(t, err, "web stopped while its system was being changed")
	require.Eventually(t, func() bool { return g.read("run/vmctl-system/state") == "reverted lost" }, 20*time.Second, 20*time.Millisecond)
	g.unchanged()
}

func TestOneChangeAtATime(t *testing.T) {
	t.Parallel()
	g := newNixOS(t)
	second := g.system("second", "")
	c := g.change(second)
	c.Ready = func(ctx context.Context) error {
		_, err := g.change(g.system("third", "")).Run(ctx)
		require.ErrorContains(t, err, "by another vmctl")
		assert.Equal(t, fault.Refused, fault.KindOf(err))
		return nil
	}
	_, err := c.Run(t.Context())
	require.NoError(t, err)
	assert.Equal(t, second, g.state().Profile)
}

// TestBeginThatDoesNotArrive: what an earlier change has left is not taken for this one's.
func TestBeginThatDoesNotArrive(t *testing.T) {
	t.Parallel()
	g := newNixOS(t)
	require.NoError(t, os.Mkdir(filepath.Join(g.dir, "run/vmctl-system"), 0o700))
	g.write("run/vmctl-system/state", "done\n")
	g.write("run/vmctl-system/id", "other\n")
	c := g.change(g.system("second", ""))
	g.down.Store(true)
	g.spare.Store(true)
	_, err := c.Run(t.Context())
	require.ErrorIs(t, err, errDown)
	assert.Equal(t, "done", g.read("run/vmctl-system/state"))
	g.unchanged()
}

func TestLookAtASystem(t *testing.T) {
	g := newNixOS(t)
	g.write("failed", "nginx.service loaded failed failed web\n")
	s, err := guest.Look(t.Context(), g, g.system("second", ""))
	require.NoError(t, err)
	assert.True(t, s.There)
	assert.Equal(t, []string{"kernel"}, s.Reboot)
	assert.Equal(t, []string{"nginx.service"}, s.FailedUnits)
	require.NoError(t, s.Able("web"))
	of, ok := s.Of(1)
	assert.True(t, ok)
	assert.Equal(t, s.Current, of.System)
	assert.WithinDuration(t, time.Now(), of.Made, time.Hour)
	said, err := guest.Preview(t.Context(), g, s.Current)
	require.NoError(t, err)
	assert.Equal(t, "activating first\n", said)

	require.NoError(t, os.Remove(filepath.Join(g.dir, "run/wrappers/bin/systemd-run")))
	s = g.state()
	if _, err := exec.LookPath("systemd-run"); err != nil {
		require.ErrorContains(t, s.Able("web"), "does not run systemd")
	}
	require.NoError(t, os.Remove(filepath.Join(g.dir, "etc/NIXOS")))
	s = g.state()
	require.ErrorContains(t, s.Able("web"), "is no NixOS")
	require.ErrorContains(t, (&guest.SystemState{NixOS: true}).Able("web"), "web has no nix")
}

// says is a guest in which each program says something and fails.
type says string

func (s says) Run(_ context.Context, c guest.Command) (int, error) {
	_, err := fmt.Fprintln(c.Stderr, string(s))
	return 1, err
}

func TestLoginsThatCannotBecomeRoot(t *testing.T) {
	for said, want := range map[string]string{
		"sudo: a password is required":          "may not become root without a password",
		"sh: sudo: not found":                   "the guest has no sudo",
		"bash: line 1: sudo: command not found": "the guest has no sudo",
	} {
		_, err := guest.Look(t.Context(), says(said), "")
		require.ErrorContains(t, err, want)
		require.Equal(t, fault.Refused, fault.KindOf(err))
		require.Contains(t, fault.HintOf(err), "ssh: {user: root}")
	}
}

func FuzzSystemState(f *testing.F) {
	f.Add("nixos\ncurrent /nix/store/00000000000000000000000000000000-a\nknown 1 5 /nix/store/00000000000000000000000000000000-a\nreboot kernel\nfailed a.service\n")
	f.Add("current /nix/store/../../etc\nknown -1 x y\nreboot \x1b[2J\n")
	f.Fuzz(func(t *testing.T, text string) {
		s := guest.ParseSystemState(text)
		for _, path := range []string{s.Current, s.Booted, s.Profile} {
			if path != "" {
				require.Equal(t, filepath.Clean(path), path)
				require.NotContains(t, path, " ")
			}
		}
		for _, g := range s.Generations {
			require.Positive(t, g.Number)
		}
		require.LessOrEqual(t, len(s.Reboot), 3)
	})
}
