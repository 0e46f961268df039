package cli

import (
	"context"

	"vmctl/pkg/builder"
	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/image"
	"vmctl/pkg/spec"
)

// buildOnOption is the flag of verbs that build an image or a system for a host.
func buildOnOption() option {
	return option{
		name: "build-on", kind: isText, value: "WHERE", choices: []string{string(spec.BuildHere), string(spec.BuildHost)},
		help: "where nix builds, whatever the definition says: here, or on the host",
	}
}

// there is the host that a machine's image or system is to be built on; nil is here. This is the one
// place where that is decided, and why is told. What is only looked at is not kept there.
func (c *call) there(ctx context.Context, t *target, e *engine.Engine, passing bool) (*builder.There, error) {
	if t.machine.BuildOn != spec.BuildHost || t.machine.Image.Kind != spec.ImageFlake {
		return nil, nil
	}
	here := func(why string) (*builder.There, error) {
		c.note(t.name, fault.New(fault.Other, "nix builds here: %s", why))
		return nil, nil
	}
	if e.Host.Local {
		c.log.Debug("build here, which is the host", "machine", t.name)
		return nil, nil
	}
	host := c.sshTo(e.Host.URI)
	if host == nil {
		return here(e.Host.URI + " is not reached by ssh")
	}
	at := &builder.There{Host: host, Space: space(e.Host), Machine: t.name}
	if passing {
		at.Machine = ""
	}
	nix, err := at.Nix(ctx)
	switch {
	case err != nil:
		return nil, err
	case nix == "":
		return here("ssh finds no nix on " + host.Name)
	}
	c.log.Debug("build on the host", "machine", t.name, "host", host.Name, "nix", nix)
	return at, nil
}

// space tells the machines of a host's users from each other and from the system's, all of
// which may have one home directory there.
func space(host *engine.Host) string {
	if host.Session {
		return "session"
	}
	return "system"
}

// builtThere builds a machine's image on the host, where it stays. An image that cannot be
// used as it lies there is fault.Refused.
func (c *call) builtThere(ctx context.Context, t *target, at *builder.There, use imageUse, images Images) (*foundImage, error) {
	built, seen, err := images.BuildThere(ctx, t.flake(), *at, use.refresh)
	if err != nil {
		return nil, err
	}
	img, err := image.FromThere(image.There{
		Path: seen.Path, OutPath: built.OutPath, Source: t.machine.Image.String(), Size: seen.Size,
		Head: seen.Head, Tail: seen.Tail, Open: seen.Open || use.session,
	})
	if err != nil {
		return nil, err
	}
	keep := func() error { return at.Keep(context.WithoutCancel(ctx), built.OutPath) }
	return &foundImage{image: img, built: built, there: at, keep: keep}, nil
}

// dropThere lets the nix of a host collect what a machine kept there. Only a machine whose
// root disk lay on a file outside of vmctl's pool can have kept something.
func (c *call) dropThere(ctx context.Context, e *engine.Engine, name, base string) error {
	host := c.sshTo(e.Host.URI)
	if host == nil || base == "" || engine.Uploaded(base) {
		return nil
	}
	return builder.There{Host: host, Space: space(e.Host), Machine: name}.Keep(ctx, "")
}

// pruneThere drops what links on a host keep for machines that are not there any more.
func (c *call) pruneThere(ctx context.Context, e *engine.Engine, dry bool) ([]prunedImage, error) {
	host := c.sshTo(e.Host.URI)
	if host == nil {
		return nil, nil
	}
	names, err := builder.KeptThere(ctx, host, space(e.Host))
	if err != nil {
		// Where ssh runs no commands, nothing was built.
		c.log.Debug("look for what is kept in the nix store of the host", "error", err)
		return nil, ctx.Err()
	}
	if len(names) == 0 {
		return nil, nil
	}
	there, err := domainsOn(ctx, e)
	if err != nil {
		return nil, err
	}
	var pruned []prunedImage
	for _, name := range names {
		if there[name] || spec.CheckName(name) != nil {
			continue
		}
		pruned = append(pruned, prunedImage{ID: name, Where: whereHostStore, Host: e.Host.URI, Why: "its machine is gone"})
		if !dry {
			if err := (builder.There{Host: host, Space: space(e.Host), Machine: name}).Keep(ctx, ""); err != nil {
				return pruned, err
			}
		}
	}
	return pruned, nil
}
