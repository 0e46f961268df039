package cli

import (
	"context"
	"path/filepath"
	"strings"

	"vmctl/pkg/engine"
	"vmctl/pkg/spec"
)

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
