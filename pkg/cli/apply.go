package cli

import (
	"context"
	"time"

	urfave "github.com/urfave/cli/v2"

	"vmctl/pkg/builder"
	"vmctl/pkg/fault"
	"vmctl/pkg/guest"
	"vmctl/pkg/spec"
)

func applyCommand() *command {
	return &command{
		name: "apply", group: lifecycle, takes: someMachines, run: runApply,
		summary: "Bring running NixOS machines up to date, without a new image",
		about: []string{
			"Builds the system of the machine's configuration, as it would be in its image, copies to the guest by ssh what it does not have, and activates " +
				"it there as nixos-rebuild switch does. The root disk stays, and up knows afterwards that the machine is up to date. " +
				"Where up would have the host build the image, with build-on, the host builds the system; what the guest lacks of it passes through this computer.",
			"The guest first tries the system. Only when it is ready again, as ready: in the definition says, and ssh gets in again, the system becomes a new generation " +
				"and what boots next. If that does not come about within the time, if the activation fails, on Ctrl-C, and also when the network is gone for good, the guest " +
				"goes back to the system that it ran before, by itself; a crash meanwhile boots that one, too.",
			"The guest needs nix, and a login by ssh that asks for no password: as root, or as a user who may use sudo without one. A new kernel or initrd waits for " +
				"the next boot. What the definition says of the machine itself, such as memory, is up's business.",
		},
		options: append([]option{
			allOption("apply to all machines of the project"),
			{name: "dry-activate", help: "build and copy, and print what the activation would do"},
			{name: "refresh", help: "fetch the inputs of the flake again, and evaluate without the cache"},
			buildOnOption(),
		}, systemFlags()...),
		examples: []example{
			{"vmctl apply web", "build, copy, activate; or go back"},
			{"vmctl apply --dry-activate web", "what would be restarted"},
			{"vmctl apply --boot --reboot web", "by way of a reboot"},
		},
		json: systemJSON(`"preview": "would restart the following units: nginx.service"`),
	}
}

// applyResult is what apply tells of one machine.
type applyResult struct {
	*systemResult
	// Preview is what --dry-activate shows.
	Preview string `json:"preview,omitempty"`
}

type applyOptions struct {
	systemOptions
	preview, refresh bool
	buildOn          spec.BuildOn
}

func runApply(ctx context.Context, c *call, in *urfave.Context) error {
	shared, err := parseSystem(in)
	if err != nil {
		return err
	}
	o := applyOptions{shared, in.Bool("dry-activate"), in.Bool("refresh"), spec.BuildOn(in.String("build-on"))}
	if o.preview && (o.mode != guest.ModeSwitch || o.reboot) {
		return usagef("--dry-activate changes nothing, and cannot go with --boot, --test or --reboot").WithHint("leave one of them out")
	}
	names, err := c.declaredNames(in)
	if err != nil {
		return err
	}
	var done []*applyResult
	err = each(ctx, names, func(name string) error {
		result, err := c.apply(ctx, name, o)
		if result != nil && err == nil {
			done = append(done, result)
		}
		return err
	})
	return results(c, done, err)
}

// apply brings one machine's guest to the system of its configuration.
func (c *call) apply(ctx context.Context, name string, o applyOptions) (*applyResult, error) {
	began := time.Now()
	t, err := c.declared(name)
	if err != nil {
		return nil, err
	}
	if t.machine.Image.Kind != spec.ImageFlake {
		return nil, fault.New(fault.Refused, "the image of %s is %s, and no NixOS configuration that nix could build anew", name, t.machine.Image).
			WithHint("vmctl up --replace %[1]s makes its root disk anew; vmctl exec %[1]s runs the guest's own package manager", name)
	}
	if o.buildOn != "" {
		t.machine.BuildOn = o.buildOn
	}
	c.look(ctx, t)
	dirs, err := c.dirs()
	if err != nil {
		return nil, err
	}
	g, err := c.systemGuest(ctx, t)
	if err != nil {
		return nil, err
	}
	built, err := c.deps.Images(dirs, c.progress, c.log).EvaluateSystem(ctx, t.flake(), o.refresh)
	if err != nil {
		return nil, err
	}
	r := &applyResult{systemResult: g.result(o.systemOptions, built.System)}
	image := imageID(built.OutPath)
	if g.done(o.systemOptions, built.System) && !o.preview {
		err := g.settle(ctx, o.systemOptions, r.systemResult, image)
		if err == nil {
			c.saySystem(r.systemResult, time.Since(began))
		}
		return r, err
	}
	if err := g.bring(ctx, o, r.systemResult); err != nil {
		return r, err
	}
	if r.System != built.System {
		image = "" // its sources were changed while it was built
	}
	g.compare(ctx, r.System, r.systemResult)
	if o.preview {
		in, err := g.in(ctx)
		if err != nil {
			return r, err
		}
		if r.Preview, err = guest.Preview(ctx, in, r.System); err == nil && !c.json() {
			c.progress.Pause()
			err = c.print(r.Preview)
			c.progress.Resume()
		}
		return r, err
	}
	if err := g.change(ctx, r.System, 0, o.mode, o.timeout, r.systemResult); err != nil {
		return r, err
	}
	r.Changed = true
	err = g.settle(ctx, o.systemOptions, r.systemResult, image)
	if err == nil {
		c.saySystem(r.systemResult, time.Since(began))
	}
	return r, err
}

// bring builds the system where an image would be built, and copies it to the guest. Once
// it is there, nothing needs to keep it where it was built.
func (g *systemGuest) bring(ctx context.Context, o applyOptions, r *systemResult) error {
	c := g.c
	at, err := c.there(ctx, g.t, g.e, false)
	if err != nil {
		return err
	}
	dirs, err := c.dirs()
	if err != nil {
		return err
	}
	unlock, err := dirs.Locks(g.host.URI, c.progress).Lock(ctx, rootsLock(g.name))
	if err != nil {
		return err
	}
	defer unlock()
	images := c.deps.Images(dirs, c.progress, c.log)
	if at != nil {
		r.System, err = images.BuildSystemThere(ctx, g.t.flake(), *at, o.refresh)
		defer func() {
			if r.System == "" {
				return
			}
			if err := at.LetGo(context.WithoutCancel(ctx), r.System); err != nil {
				c.note(g.name, err)
			}
		}()
	} else {
		roots := dirs.GCRoots(g.host.URI, g.name)
		others := builder.Kept(roots)
		defer func() {
			if err := builder.KeepRoots(roots, others...); err != nil {
				c.note(g.name, err)
			}
		}()
		r.System, err = images.BuildSystem(ctx, g.t.flake(), roots, o.refresh)
	}
	if err != nil {
		return err
	}
	config, user, remove, err := g.sshConfigFile(ctx, at)
	if err != nil {
		return err
	}
	defer remove()
	r.Copied, err = images.Copy(ctx, r.System, builder.Target{
		Host: hostKeyAlias(g.name), Config: config, Sudo: user != rootUser, Machine: g.name, From: at,
	})
	return err
}
