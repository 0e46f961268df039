package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"vmctl/pkg/builder"
	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/guest"
	"vmctl/pkg/spec"
	"vmctl/pkg/ui"
)

// systemGuest is a running NixOS guest whose system is to be changed.
type systemGuest struct {
	*reachable
	t *target
	e *engine.Engine
	// network says that ssh gets in, which is then what has to work afterwards, too.
	network bool
	state   guest.SystemState
}

// systemOptions are the flags that apply and rollback share.
type systemOptions struct {
	mode    guest.Mode
	reboot  bool
	timeout time.Duration
}

func systemFlags() []option {
	return []option{
		{name: "boot", help: "only let the guest boot it next"},
		{name: "test", help: "use it until the guest is rebooted: what boots next stays as it is"},
		{name: "reboot", help: "restart the guest afterwards when its kernel or initrd has changed"},
		{name: "timeout", kind: isDuration, value: "TIME", preset: "5m", help: "how long the guest may take to be ready again before it goes back; 0 is no limit"},
	}
}

func parseSystem(in *urfave.Context) (systemOptions, error) {
	o := systemOptions{mode: guest.ModeSwitch, reboot: in.Bool("reboot"), timeout: in.Duration("timeout")}
	switch {
	case in.Bool("boot") && in.Bool("test"):
		return o, usagef("--boot and --test cannot go together").WithHint("leave both out to use it now and from then on")
	case in.Bool("test") && o.reboot:
		return o, usagef("--test and --reboot cannot go together: a reboot ends what --test tries").WithHint("leave --test out")
	case in.Bool("boot"):
		o.mode = guest.ModeBoot
	case in.Bool("test"):
		o.mode = guest.ModeTest
	}
	return o, nil
}

// systemGuest finds a running machine of this project, the ways into it, and how its system
// stands. With an error there is one, too, where the guest's agent gets in and ssh does not.
func (c *call) systemGuest(ctx context.Context, t *target) (*systemGuest, error) {
	e, err := c.engine(ctx, t.uri, t.project)
	if err != nil {
		return nil, err
	}
	if _, err := e.Managed(ctx, t.name); err != nil {
		return nil, c.known(ctx, t, e, err)
	}
	m, err := c.reachable(ctx, t.name)
	if err != nil {
		return nil, err
	}
	g := &systemGuest{reachable: m, t: t, e: e}
	login, failed := g.login(ctx, "")
	if failed == nil {
		login.Batch = true
		if g.network = login.Works(ctx); !g.network {
			failed = g.noLogin(ctx, login)
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	in, err := g.in(ctx)
	if err == nil {
		g.state, err = guest.Look(ctx, in, "")
	}
	switch {
	case err != nil && failed != nil:
		return nil, failed
	case err != nil:
		return nil, err
	}
	if err := g.state.Able(t.name); err != nil {
		return nil, err
	}
	return g, failed
}

// noLogin says why ssh does not get in without asking.
func (g *systemGuest) noLogin(ctx context.Context, login *guest.SSH) error {
	if err := login.Explain(ctx); err != nil {
		return err
	}
	return fault.New(fault.Refused, "ssh to %s as %s does not work without a password, and the system is copied over it", g.name, login.User).
		WithHint("vmctl ssh %s shows why; let a key of yours log in (NixOS: users.users.%s.openssh.authorizedKeys.keys)", g.name, login.User)
}

// overSSH is a way into the guest as root by ssh, found anew each time.
func (g *systemGuest) overSSH(ctx context.Context) (guest.Runner, error) {
	login, err := g.login(ctx, "")
	if err != nil {
		return nil, err
	}
	login.Batch, login.Ask = true, false
	if login.User != rootUser {
		return guest.AsRoot(login), nil
	}
	return login, nil
}

// byAgent is the way through the guest's agent, where one answers.
func (g *systemGuest) byAgent(ctx context.Context) (guest.Runner, error) {
	has, err := g.hasAgent(ctx)
	if err == nil && !has {
		err = fault.New(fault.Refused, "no guest agent answers in %s", g.name)
	}
	return g.agent(), err
}

// in is the way that works now.
func (g *systemGuest) in(ctx context.Context) (guest.Runner, error) {
	if g.network {
		return g.overSSH(ctx)
	}
	return g.byAgent(ctx)
}

// change brings the guest to a system that it has, and to its old one when that does not do.
func (g *systemGuest) change(ctx context.Context, system string, generation int, mode guest.Mode, timeout time.Duration, r *systemResult) error {
	change := guest.Change{
		Machine: g.name, System: system, Generation: generation, Mode: mode, Limit: timeout, Sink: g.c.progress,
		Network: g.overSSH, Spare: g.byAgent,
		Running: func(ctx context.Context) (bool, error) {
			d, err := g.host.Domains.Domain(ctx, g.name)
			return err == nil && d.State.Active(), err
		},
		Ready: func(ctx context.Context) (err error) {
			r.Ready, err = g.c.waitReady(ctx, g.expected(), timeout)
			return err
		},
	}
	if !g.network {
		change.Network, change.Spare = g.byAgent, nil
	}
	log, err := change.Run(ctx)
	for line := range strings.Lines(log) {
		g.c.log.Debug("activation", "machine", g.name, "line", strings.TrimSpace(line))
	}
	return err
}

// expected is the guest as it is waited for.
func (g *systemGuest) expected() expected {
	record := g.record()
	x := expected{
		attachment: &attachment{host: g.host, name: g.name}, watched: watched{g.e, g.name, false},
		ports: record.Ports, network: record.Network,
	}
	if g.t.machine != nil {
		x.ready = g.t.machine.Ready
	}
	return x
}

// systemResult is what apply and rollback tell of one machine.
type systemResult struct {
	Name string `json:"name"`
	Host string `json:"host"`
	// Changed says that there was something to do.
	Changed bool       `json:"changed"`
	Mode    guest.Mode `json:"mode"`
	// System is the store path of what was asked for, Previous of what ran before.
	System     string `json:"system"`
	Previous   string `json:"previous"`
	Generation int    `json:"generation"`
	// Copied is what was copied to the guest.
	Copied builder.Copied `json:"copied"`
	// Differences are nix's own words for what changed.
	Differences []string `json:"differences"`
	// Waiting are the parts that take effect at the next boot.
	Waiting     []string `json:"waiting"`
	Rebooted    bool     `json:"rebooted"`
	FailedUnits []string `json:"failedUnits"`
	// Ready says how the guest showed that it is ready.
	Ready string `json:"ready"`
}

// systemJSON is the example of a document, with the last key of the machine.
func systemJSON(last string) string {
	return `{
  "machines": [
    {
      "name": "example",
      "host": "qemu:///session",
      "changed": true,
      "mode": "switch",
      "system": "/nix/store/3kq0w7z2m1s9v5c8a4b6d7f9g0h2i3j4-nixos-system-example-25.11",
      "previous": "/nix/store/8d4fjrwy8yn6vqkq6ikdzzhqjm8w0hjp-nixos-system-example-25.11",
      "generation": 2,
      "copied": { "paths": 12, "bytes": 18350080 },
      "differences": ["nginx: 1.26.1 → 1.26.2, +12.3 KiB"],
      "waiting": ["kernel"],
      "rebooted": false,
      "failedUnits": [],
      "ready": "the guest agent answers",
      ` + last + `
    }
  ]
}`
}

func (g *systemGuest) result(o systemOptions, system string) *systemResult {
	return &systemResult{
		Name: g.name, Host: g.host.URI, Mode: o.mode, System: system, Previous: g.state.Current, Generation: g.state.Generation,
		Differences: []string{}, Waiting: []string{}, FailedUnits: []string{},
	}
}

// done says that the guest has the system in the way that is asked for.
func (g *systemGuest) done(o systemOptions, system string) bool {
	runs, boots := g.state.Current == system, g.state.Profile == system
	switch o.mode {
	case guest.ModeBoot:
		return boots
	case guest.ModeTest:
		return runs
	default:
		return runs && boots
	}
}

// compare tells what changes from the system that runs. That this cannot be told keeps
// nobody from changing it.
func (g *systemGuest) compare(ctx context.Context, in guest.Runner, system string, r *systemResult) {
	lines, err := guest.Differences(ctx, in, g.state.Current, system)
	if err != nil {
		g.c.log.Debug("compare systems", "machine", g.name, "error", err)
		return
	}
	r.Differences = append(r.Differences, lines...)
}

// settle looks at the guest after a change, notes which system it has, and restarts it where that
// is asked for and needed.
func (g *systemGuest) settle(ctx context.Context, o systemOptions, r *systemResult, image string) error {
	in, err := g.in(ctx)
	if err != nil {
		return err
	}
	before := g.state
	if g.state, err = guest.Look(ctx, in, r.System); err != nil {
		return err
	}
	r.Generation = g.state.Generation
	r.Waiting, r.FailedUnits = append(r.Waiting, g.state.Reboot...), append(r.FailedUnits, g.state.FailedUnits...)
	if o.mode != guest.ModeTest {
		first, _ := g.state.Of(1)
		if err := g.e.NoteApplied(ctx, g.name, first.System, engine.Applied{System: r.System, Image: image}); err != nil {
			return err
		}
		g.c.keepApplied(g.host.URI, g.name, r.System)
	}
	if o.reboot && (len(r.Waiting) > 0 || g.state.Current != r.System) {
		return g.reboot(ctx, o, r, before)
	}
	return nil
}

// reboot restarts the guest as vmctl restart does, so that it gets its secrets, and goes back
// to what it booted before when it is not ready.
func (g *systemGuest) reboot(ctx context.Context, o systemOptions, r *systemResult, before guest.SystemState) error {
	again := func() error {
		if _, err := g.c.stop(ctx, g.name, engine.DownOptions{Timeout: stopTimeout}); err != nil {
			return err
		}
		started, err := g.c.start(ctx, g.name, waiting{timeout: o.timeout})
		if started != nil {
			r.Ready = started.Ready
		}
		return err
	}
	err := again()
	if err == nil {
		r.Rebooted, r.Waiting = true, []string{}
		return nil
	}
	if fault.Is(err, fault.Interrupted) || before.Generation == 0 || before.Generation == g.state.Generation {
		return err
	}
	g.c.note(g.name, fault.New(fault.Other, "%s is not ready with its new system: it boots the previous one again", g.name))
	old, known := before.Of(before.Generation)
	if back := g.change(ctx, old.System, old.Number, guest.ModeBoot, o.timeout, r); !known || back != nil {
		return fault.New(fault.KindOf(err), "%s has booted its new system, and is not ready: %w", g.name, err).
			WithHint("nobody gets in to go back: choose the previous generation in the boot menu, with vmctl console %s", g.name)
	}
	if noted := g.e.NoteApplied(ctx, g.name, "", engine.Applied{System: old.System}); noted != nil {
		g.c.note(g.name, noted)
	}
	if back := again(); back != nil {
		return back
	}
	return fault.New(fault.KindOf(err), "%s was not ready after a boot with its new system, and has booted the previous one: %w", g.name, err)
}

// sshConfigFile writes what nix's ssh needs to get into the guest.
func (g *systemGuest) sshConfigFile(ctx context.Context) (file string, user string, remove func(), err error) {
	login, err := g.login(ctx, "")
	if err != nil {
		return "", "", nil, err
	}
	login.Batch, login.Ask = true, false
	dir, err := os.MkdirTemp("", "vmctl-ssh-")
	if err != nil {
		return "", "", nil, fault.New(fault.Other, "ssh's configuration cannot be written: %w", err)
	}
	remove = func() { _ = os.RemoveAll(dir) }
	file = filepath.Join(dir, "config")
	if strings.ContainsAny(file, " \t\n") {
		err = fault.New(fault.Other, "nix cannot pass on the path of temporary files: %s has blanks in it", file).WithHint("set TMPDIR to a plain path")
	} else if err = os.WriteFile(file, []byte(login.Config()), 0o600); err != nil {
		err = fault.New(fault.Other, "ssh's configuration cannot be written: %w", err)
	}
	if err != nil {
		remove()
	}
	return file, login.User, remove, err
}

// shownDifferences is how many lines a person is shown; JSON has all.
const shownDifferences = 20

// saySystem tells a person how a change of the system ended.
func (c *call) saySystem(r *systemResult, took time.Duration) {
	c.progress.Pause()
	defer c.progress.Resume()
	var b strings.Builder
	switch {
	case !r.Changed && r.Mode == guest.ModeBoot:
		fmt.Fprintf(&b, "%s boots that system next already", r.Name)
	case !r.Changed:
		fmt.Fprintf(&b, "%s runs that system already: generation %d", r.Name, r.Generation)
	case r.Mode == guest.ModeBoot && !r.Rebooted:
		fmt.Fprintf(&b, "%s boots generation %d next; vmctl restart %[1]s does it now", r.Name, r.Generation)
	case r.Mode == guest.ModeTest:
		fmt.Fprintf(&b, "%s runs the system after %s, until it is rebooted", r.Name, ui.Duration(took))
	default:
		fmt.Fprintf(&b, "%s runs generation %d after %s", r.Name, r.Generation, ui.Duration(took))
	}
	for i, line := range r.Differences {
		if i == shownDifferences {
			fmt.Fprintf(&b, "\n  and %s more, which -o json shows", counted(len(r.Differences)-i, "change"))
			break
		}
		b.WriteString("\n  " + line)
	}
	if len(r.Waiting) > 0 && r.Mode != guest.ModeBoot {
		fmt.Fprintf(&b, "\n  waits for the next boot: %s; vmctl restart %s does it now", join(r.Waiting, ", "), r.Name)
	}
	if len(r.FailedUnits) > 0 {
		fmt.Fprintf(&b, "\n  units that have failed: %s", join(r.FailedUnits, ", "))
	}
	c.say(b.String())
}

// keepApplied notes that the host is worth asking, dropApplied that it is not.
func (c *call) keepApplied(hostURI, machine, system string) {
	dirs, err := c.dirs()
	if err == nil {
		err = dirs.Applied(hostURI).Write(machine, []byte(system+"\n"))
	}
	if err != nil {
		c.log.Debug("note that a system was applied", "machine", machine, "error", err)
	}
}

func (c *call) dropApplied(hostURI, machine string) {
	if dirs, err := c.dirs(); err == nil {
		dirs.Applied(hostURI).Remove(machine)
	}
}

// appliedImage is the image that a machine's guest has the system of, by apply, where that is
// the wanted one: it need not be built then. It is nil where it has to be looked for.
func (c *call) appliedImage(ctx context.Context, t *target, e *engine.Engine, o upOptions) (*foundImage, error) {
	dirs, err := c.dirs()
	if err != nil || o.build || t.machine.Image.Kind != spec.ImageFlake || len(dirs.Applied(e.Host.URI).Read(t.name)) == 0 {
		return nil, err
	}
	d, err := e.Managed(ctx, t.name)
	if err != nil || len(d.Record.Applied) == 0 {
		return nil, nil //nolint:nilerr // up says what is wrong, if anything is
	}
	res, err := c.deps.Images(dirs, c.progress, c.log).Evaluate(ctx, t.flake(), o.refresh)
	if err != nil {
		return nil, err
	}
	id := imageID(res.OutPath)
	if !d.Record.HasImage(id) {
		return nil, nil
	}
	f := &foundImage{
		image: engine.Image{ID: id, Source: t.machine.Image.String()}, built: res,
		keep: func() error { return nil }, done: func() {},
	}
	return f, c.describe(t, res)
}

// imageID begins the ID of the image that nix builds to a store path.
func imageID(outPath string) string {
	hash, _, _ := strings.Cut(filepath.Base(outPath), "-")
	return "nix-" + hash
}
