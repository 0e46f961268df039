package cli

import (
	"context"
	"slices"

	urfave "github.com/urfave/cli/v2"

	"vmctl/pkg/builder"
	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/image"
	"vmctl/pkg/project"
	"vmctl/pkg/spec"
)

// target is one machine that a command was given by name.
type target struct {
	name string
	// project is nil outside of one.
	project *project.Project
	// definition is empty when there is none: then a flake alone describes the machine.
	definition project.Definition
	// machine is nil when neither the project nor a flake declares it.
	machine *spec.Machine
	uri     string
	// shown is the flake as it was written on the command line, where that says more than
	// the image; else empty.
	shown string
	// noKVM builds the image also where nix sees no KVM.
	noKVM bool
	// ask is asked before its image is built; nil asks nobody.
	ask func(ctx context.Context) error
	// sources is what the image's flake looked like when the command began, if it was looked at.
	sources *builder.Sources
	// ahead is the image's file, if it is being read.
	ahead *image.Ahead
	// media are what the guest is told on disks of their own.
	media []engine.Medium
	// systemdKeys are the public keys of Machine.Systemd, read from their files.
	systemdKeys []string
}

// host is what the definition says of the host, or empty.
func (t *target) host() string {
	if t.machine == nil {
		return ""
	}
	return t.machine.Host
}

// wanted is what is declared, with the image that was found.
func (t *target) wanted(found *foundImage) engine.Wanted {
	w := engine.Wanted{Machine: *t.machine, Image: found.image, Media: t.media}
	w.Machine.Systemd.Keys = t.systemdKeys
	return w
}

// declared finds a machine that has to have a definition, or a flake that describes it.
func (c *call) declared(name string) (*target, error) {
	if img, ok := c.flakes[name]; ok {
		return c.ofFlake(name, img)
	}
	p, err := c.project()
	if err != nil {
		return nil, err
	}
	return c.defined(p, name)
}

// defined is a machine of the project.
func (c *call) defined(p *project.Project, name string) (*target, error) {
	d, err := p.Read(name)
	if err != nil {
		return nil, err
	}
	m, err := d.Machine()
	if err != nil {
		return nil, err
	}
	uri, err := c.uri(m.Host)
	if err != nil {
		return nil, err
	}
	c.hideSecrets(m)
	return &target{name: name, project: p, definition: d, machine: m, uri: uri}, nil
}

// target finds a machine that may exist on the host alone. A definition with errors
// in it is one only when the host is not named: then nobody knows which to ask.
func (c *call) target(name string) (*target, error) {
	if img, ok := c.flakes[name]; ok {
		t, err := c.ofFlake(name, img)
		if err == nil {
			c.recall(t)
		}
		return t, err
	}
	p, err := c.projectOrNone()
	if err != nil {
		return nil, err
	}
	if p != nil {
		t, err := c.defined(p, name)
		switch {
		case err == nil:
			c.recall(t)
			return t, nil
		case fault.Is(err, fault.NotFound):
		case c.onHost() == "vmctl":
			return nil, err
		}
	}
	uri, err := c.uri("")
	if err != nil {
		return nil, err
	}
	return &target{name: name, project: p, uri: uri}, nil
}

// open connects to the machine's host, to change things there.
func (c *call) open(ctx context.Context, name string) (*target, *engine.Engine, error) {
	t, err := c.target(name)
	if err != nil {
		return nil, nil, err
	}
	e, err := c.engine(ctx, t.uri, t.project)
	return t, e, err
}

// observe connects to the machine's host and reads its domain. Looking is allowed
// whichever project a machine belongs to, and whichever vmctl made it.
func (c *call) observe(ctx context.Context, name string) (*target, *engine.Engine, *engine.Domain, error) {
	t, err := c.target(name)
	if err != nil {
		return nil, nil, nil, err
	}
	e, err := c.engine(ctx, t.uri, nil)
	if err != nil {
		return nil, nil, nil, err
	}
	d, err := e.Look(ctx, name)
	return t, e, d, c.known(ctx, t, e, err)
}

// known adds the nearest name to an error that says that a machine is not there.
func (c *call) known(ctx context.Context, t *target, e *engine.Engine, err error) error {
	if !fault.Is(err, fault.NotFound) || t.machine != nil {
		return err
	}
	unknown := fault.New(fault.NotFound, "there is no machine %s on %s", t.name, e.Host.URI)
	return unknown.WithHint("%s", nearest(t.name, c.names(ctx, t.project, e), "did you mean %s?", "vmctl list shows the machines"))
}

// names are the project's machines and the host's managed domains, as far as they can
// be told: they only help with suggestions.
func (c *call) names(ctx context.Context, p *project.Project, e *engine.Engine) []string {
	var names []string
	if p != nil {
		names, _ = p.Names()
	}
	if e == nil {
		return names
	}
	domains, _ := e.Host.Domains.ListDomains(ctx, engine.Briefly)
	for _, d := range domains {
		if d.Ours() && !slices.Contains(names, d.Name) {
			names = append(names, d.Name)
		}
	}
	return names
}

// allOption is the flag of verbs that take several machines.
func allOption(what string) option {
	return option{name: "all", short: "a", help: what}
}

// declaredNames are the machines named, or with --all all of the project.
func (c *call) declaredNames(in *urfave.Context) ([]string, error) {
	if !in.Bool("all") {
		return unique(c.line.args), nil
	}
	p, err := c.project()
	if err != nil {
		return nil, err
	}
	names, err := p.Names()
	if err == nil && len(names) == 0 {
		err = noMachines(p)
	}
	return names, err
}

func noMachines(p *project.Project) error {
	return fault.New(fault.NotFound, "the project %s has no machines", p.Dir).WithHint("vmctl init NAME writes one")
}

func unique(names []string) []string {
	var once []string
	for _, name := range names {
		if !slices.Contains(once, name) {
			once = append(once, name)
		}
	}
	return once
}

// checkArguments refuses too few and too many arguments, and what can be no name.
func checkArguments(c *call) error {
	verb, args := c.line.verb, c.line.args
	all := slices.Contains(c.line.local, "--all=true")
	_, hasAll := verb.option("all")
	hasAll = hasAll && verb.takes == someMachines
	wrong := func(e *fault.Error) error { return c.line.explain(e) }
	switch most := verb.most(); {
	case all && hasAll && len(args) > 0:
		return wrong(usagef("--all stands for the names of all machines: leave out %s", join(args, " ")).
			WithHint("vmctl %s --all", verb.path()))
	case most >= 0 && len(args) > most:
		return wrong(usagef("%s does not take %q", verb.path(), args[most]).WithHint("leave it out"))
	case len(args) > 0:
	case verb.takes == oneMachine, verb.takes == someMachines && !all:
		return wrong(usagef("%s needs the name of a machine", verb.path()).WithHint("%s", c.whichMachine(hasAll)))
	case verb.takes == oneWord:
		return wrong(usagef("%s needs one of %s", verb.path(), join(verb.words, ", ")).WithHint("vmctl help %s explains it", verb.path()))
	}
	if verb.takes == ownWords && len(args) < verb.args.least {
		return wrong(usagef("%s needs %s", verb.path(), verb.args.one).WithHint("%s", verb.args.hint))
	}
	switch verb.takes {
	case maybeCommand, anyWords:
		return nil
	case ownWords:
		for _, word := range args {
			if verb.args.check == nil {
				break
			}
			if err := verb.args.check(word); err != nil {
				return err
			}
		}
		return nil
	case oneWord:
		if len(args) > 0 && !slices.Contains(verb.words, args[0]) {
			return usagef("%s does not know %q", verb.path(), args[0]).
				WithHint("%s", nearest(args[0], verb.words, "did you mean %s?", "it knows "+join(verb.words, ", ")))
		}
		return nil
	}
	for i, name := range args {
		if isFlake(name) && !verb.definitions && verb.noun == nil {
			machine, err := c.takeFlake(name)
			if err != nil {
				return err
			}
			args[i], name = machine, machine
		}
		if err := spec.CheckName(name); err != nil {
			return err
		}
	}
	return nil
}

// whichMachine is the hint for a missing name.
func (c *call) whichMachine(all bool) string {
	const unknown = "vmctl list shows the machines"
	p, err := c.projectOrNone()
	if err != nil || p == nil {
		return unknown
	}
	names, err := p.Names()
	if err != nil || len(names) == 0 {
		return unknown
	}
	hint := "this project has " + join(names, ", ")
	if all && len(names) > 1 {
		hint += "; --all takes all of them"
	}
	return hint
}
