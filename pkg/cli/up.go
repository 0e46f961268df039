package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"

	urfave "github.com/urfave/cli/v2"

	"vmctl/pkg/engine"
	"vmctl/pkg/progress"
	"vmctl/pkg/spec"
)

// stopTimeout is how long a guest may take to power off where no flag says so.
const stopTimeout = 60 * time.Second

func upCommand() *command {
	return &command{
		name: "up", group: lifecycle, takes: someMachines, run: runUp,
		summary: "Build, define and start machines",
		about: []string{
			"Takes each machine from its definition, domain/NAME.yaml, to a running guest: builds, downloads or opens the image, " +
				"makes the root disk, defines and starts the libvirt domain, waits until the guest is ready and says how to reach it.",
			"What is there already is kept, and a machine that is as declared is left alone. What would lose data is refused " +
				"unless --replace allows it. A failure or Ctrl-C takes back what this run made, until the guest " +
				"runs: it keeps booting when the wait for it is interrupted or takes too long.",
			"A new system of a NixOS machine needs no new root disk: vmctl apply brings it to the running guest, and up then has nothing to replace.",
			"Instead of a name a flake can stand, as in vmctl up .#web: the machine is then called web, needs no definition, and is what " +
				"the configuration says with vmctl's options. Where there is a domain/web.yaml, its keys count more.",
		},
		options: append([]option{
			allOption("bring up all machines of the project"),
			{name: "console", help: "attach to the serial console before the guest's first instruction"},
			{name: "no-wait", help: "do not wait until the guest is ready"},
			{name: "timeout", kind: isDuration, value: "TIME", preset: "5m", help: "how long the guest may take to become ready; 0 is no limit"},
			{name: "dry-run", help: "only say what would be done, as vmctl plan does"},
		}, planOptions()...),
		examples: []example{
			{"vmctl up example", "start the machine of domain/example.yaml"},
			{"vmctl up --console example", "and watch it boot; Ctrl-] leaves"},
			{"vmctl up .#web", "the configuration web of the flake here"},
			{"vmctl up --replace example", "make the root disk anew, losing what is in it"},
			{"vmctl up -c qemu:///system --all", "all machines, on the system's libvirt"},
		},
		json: upJSON,
	}
}

// planOptions are the flags that up and plan share.
func planOptions() []option {
	return append([]option{
		{name: "replace", help: "allow the root disk to be made anew: what is in it is lost"},
		{name: "restart", help: "stop and start the guest when changes wait for its next boot"},
		{name: "adopt", help: "take over a machine that another project directory made"},
		{
			name: "accel", kind: isText, value: "HOW", env: envAccel,
			choices: []string{string(spec.AccelAuto), string(spec.AccelKVM), string(spec.AccelTCG)},
			help:    "how the guest's CPU is run, whatever the definition says: auto, kvm or tcg (software emulation)",
		},
		buildOnOption(),
	}, imageOptions()...)
}

// imageOptions are the flags of verbs that build an image.
func imageOptions() []option {
	return []option{
		{name: "refresh", help: "fetch the inputs of the flake again, and build without the cache; ask publishers for their newest image"},
		{name: "no-kvm", help: "build the image also where nix sees no KVM, by slow emulation"},
	}
}

type upOptions struct {
	engine.Options
	waiting
	refresh, noKVM bool
	buildOn        spec.BuildOn
	// passing says that nothing is to be brought up.
	passing bool
	// build builds the image also where the guest should have what is in it.
	build bool
	accel spec.Accel
}

func parseUp(in *urfave.Context) upOptions {
	return upOptions{
		Options: engine.Options{
			Replace: in.Bool("replace"), Restart: in.Bool("restart"), Adopt: in.Bool("adopt"),
			StopTimeout: stopTimeout,
		},
		waiting: parseWaiting(in),
		refresh: in.Bool("refresh"), noKVM: in.Bool("no-kvm"), buildOn: spec.BuildOn(in.String("build-on")), accel: spec.Accel(in.String("accel")),
	}
}

func runUp(ctx context.Context, c *call, in *urfave.Context) error {
	if in.Bool("dry-run") {
		return runPlan(ctx, c, in)
	}
	o := parseUp(in)
	names, err := c.declaredNames(in)
	if err != nil {
		return err
	}
	if err := c.oneConsole(o.waiting, names); err != nil {
		return err
	}
	done, err := several(ctx, c, names, func(c *call, name string) (*upResult, error) { return c.up(ctx, name, o) })
	return results(c, done, err)
}

// oneConsole refuses a console that is several machines' or shares its output.
func (c *call) oneConsole(w waiting, names []string) error {
	verb := c.line.verb.path()
	switch {
	case w.console && len(names) != 1:
		return usagef("--console shows one machine, and %d are named", len(names)).
			WithHint("vmctl %s %s, then vmctl console NAME", verb, join(names, " "))
	case w.console && c.json():
		return usagef("--console and -o json cannot both have the standard output").
			WithHint("vmctl %s -o json %[2]s, then vmctl console %[2]s", verb, names[0])
	}
	return nil
}

// wanted finds out what is declared: the definition, and its image built or opened.
func (c *call) wanted(ctx context.Context, name string, o upOptions) (*target, *engine.Engine, *foundImage, error) {
	t, err := c.declared(name)
	if err != nil {
		return nil, nil, nil, err
	}
	t.noKVM = o.noKVM
	if err := c.readSystemd(t); err != nil {
		return nil, nil, nil, err
	}
	if t.media, err = c.media(t); err != nil {
		return nil, nil, nil, err
	}
	c.look(ctx, t)
	c.readAhead(ctx, t)
	e, err := c.engine(ctx, t.uri, t.project)
	if err != nil {
		return nil, nil, nil, err
	}
	if err := findShares(t, e); err != nil {
		return nil, nil, nil, err
	}
	c.anticipate(ctx, t, e)
	if err := c.worthBuilding(ctx, t, e, o.Adopt); err != nil {
		return nil, nil, nil, err
	}
	if err := c.elsewhere(ctx, t, e); err != nil {
		return nil, nil, nil, err
	}
	use := imageUse{host: e.Host.URI, session: e.Host.Session, passing: o.passing, refresh: o.refresh}
	if t.machine.Image.Kind == spec.ImageKnown {
		can, err := e.Host.Inspector.Capabilities(ctx)
		if err != nil {
			return nil, nil, nil, err
		}
		use.arch = can.Arch
	}
	if o.buildOn != "" {
		t.machine.BuildOn = o.buildOn
	}
	if use.there, err = c.there(ctx, t, e, o.passing); err != nil {
		return nil, nil, nil, err
	}
	found, err := c.appliedImage(ctx, t, e, o)
	if found == nil && err == nil {
		found, err = c.findImage(ctx, t, use)
	}
	if err != nil {
		if !use.passing {
			c.dropUnused(ctx, t, e)
		}
		return nil, nil, nil, err
	}
	if found.built.Spec != nil {
		// The configuration may have shares of its own.
		if err := findShares(t, e); err != nil {
			found.abandon(ctx, e.Host, name)
			found.done()
			return nil, nil, nil, err
		}
	}
	if o.accel != "" {
		t.machine.Accel = o.accel
	}
	return t, e, found, nil
}

// anticipate asks the host, beside all else, for what only defining a machine needs, where this client keeps no image
// for it: the machine is hardly there then. What cannot be had, the engine says.
func (c *call) anticipate(ctx context.Context, t *target, e *engine.Engine) {
	dirs, err := c.dirs()
	if err != nil || t.machine.Image.Kind != spec.ImageFlake {
		return
	}
	if _, err := os.Lstat(dirs.GCRoots(e.Host.URI, t.name)); errors.Is(err, fs.ErrNotExist) {
		go func() { _, _ = e.Host.Inspector.Capabilities(ctx) }()
	}
}

// worthBuilding keeps a person from waiting for a build or a download only to hear that the
// machine is not to be touched. A flake's image asks by itself when it has to be built: an up
// with nothing to do is to be quick.
func (c *call) worthBuilding(ctx context.Context, t *target, e *engine.Engine, adopt bool) error {
	ask := func(ctx context.Context) error { return e.MayChange(ctx, t.name, adopt) }
	switch t.machine.Image.Kind {
	case spec.ImageFile:
		return nil
	case spec.ImageFlake:
		t.ask = ask
		return nil
	default:
		return ask(ctx)
	}
}

// up brings one machine up. The result is set once the machine is as declared, also
// when the guest did not become ready in time.
func (c *call) up(ctx context.Context, name string, o upOptions) (*upResult, error) {
	began := time.Now()
	t, e, found, err := c.wanted(ctx, name, o)
	if err != nil {
		return nil, err
	}
	defer found.done()
	attached := &attachment{host: e.Host, name: name}
	defer attached.close()
	if o.console {
		o.BeforeBoot = attached.beforeBoot
	}
	o.BeforeDetach = c.beforeDetach(e.Host, name)
	if slices.ContainsFunc(t.machine.Volumes, func(v spec.Volume) bool { return v.Encrypt }) {
		c.secrets.guard() // the keys of new volumes are made here
	}
	var outcome *engine.Outcome
	err = c.settled(ctx, t, e, func() (err error) {
		outcome, err = e.Up(ctx, c.handed(t, found), o.Options)
		return err
	})
	if errors.Is(err, engine.ErrImageNeeded) && !o.build {
		o.build = true
		return c.up(ctx, name, o)
	}
	if err != nil {
		// Whatever the domain uses now, its image's root is one of those that are there.
		found.abandon(ctx, e.Host, name)
		return nil, err
	}
	if !outcome.Kept { // what the root disk lies on is kept by a root that is there
		if err := found.keep(); err != nil {
			c.note(name, err)
		}
	}
	c.dropBuildRoots(t)
	result := &upResult{
		Name: name, Host: e.Host.URI, Changed: !outcome.Plan.Empty(), Started: outcome.Started,
		Operations: outcome.Plan.Ops, Pending: outcome.Plan.Pending, Notes: outcome.Plan.Notes,
	}
	c.tendVolumes(ctx, e.Host, t.machine, outcome)
	result.reach = c.reachOf(name, outcome.Ports)
	c.forgetful(t, outcome.Plan)
	network := t.machine.ResolveNetwork(e.Host.Session)
	c.waits()
	stopped, err := c.follow(ctx, expected{
		attachment: attached, watched: watched{e, name, outcome.Delivering}, started: outcome.Started, booting: outcome.Booting,
		ready: t.machine.Ready, network: network, ports: outcome.Ports,
	}, o.waiting, &result.Ready)
	if err != nil || stopped {
		return result, err
	}
	if result.Ready != "" {
		c.waitAddress(ctx, e.Host, name, network)
	}
	result.reach = c.reach(ctx, e.Host, name, network, outcome.Ports, t.machine)
	c.sayUp(result, time.Since(began))
	return result, nil
}

// note tells of something that does not change the outcome.
func (c *call) note(name string, err error) {
	c.progress.Emit(progress.Event{ID: name + "/note", Status: progress.Note, Text: err.Error()})
}
