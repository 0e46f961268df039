package cli

import (
	"context"
	"errors"
	"net/netip"
	"net/url"
	"os"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"vmctl/pkg/ansi"
	"vmctl/pkg/engine"
	"vmctl/pkg/image"
	"vmctl/pkg/spec"
)

// moveTo connects to the host that a machine goes to.
func (c *call) moveTo(ctx context.Context, t *target, from *engine.Engine, uri string) (*engine.Move, error) {
	m := c.moveFrom(t.name, from, uri)
	var err error
	m.To, err = c.engine(ctx, uri, t.project)
	if err == nil && m.To.Host.URI == from.Host.URI {
		err = usagef("%s and %s are the same host", m.FromName, m.ToName).WithHint("name another one: vmctl host list shows those that have a name")
	}
	return m, err
}

// moveFrom is a move to a host that is not connected to yet.
func (c *call) moveFrom(name string, from *engine.Engine, uri string) *engine.Move {
	return &engine.Move{Name: name, From: from, FromName: c.called(from.Host.URI), ToName: c.called(uri), ToURI: uri}
}

// called is a host for people: its name where it has one.
func (c *call) called(uri string) string {
	if name := c.hostNames()[uri]; name != "" {
		return name
	}
	return uri
}

// on is how a command for a host is written.
func (c *call) on(uri string) string {
	if name := c.hostNames()[uri]; name != "" {
		return "vmctl -H " + name
	}
	return "vmctl -c " + ansi.ShellWord(uri)
}

func (c *call) moveOptions(ctx context.Context, t *target, m *engine.Move, in *urfave.Context) engine.MoveOptions {
	o := engine.MoveOptions{
		Address: in.String("address"),
		Certified: func(ctx context.Context, e *engine.Engine) bool {
			host := c.sshTo(e.Host.URI)
			return c.deps.Certified != nil && (host != nil || e.Host.Local) && c.deps.Certified(ctx, host)
		},
		Stop:  engine.DownOptions{Timeout: in.Duration("stop-timeout"), Force: in.Bool("force")},
		Start: engine.StartOptions{Delivery: c.delivery(t)},
		Image: func(ctx context.Context, id, base string) *engine.Image {
			return c.imageHere(ctx, t, id, base)
		},
		Gone: func(base string) { c.forgetAt(ctx, t, m.From, base) },
	}
	switch {
	case in.Bool("live"):
		o.Way = engine.WayLive
	case in.Bool("cold"):
		o.Way = engine.WayCold
	}
	switch {
	case in.Bool("tls"):
		o.Encryption = engine.EncryptionTLS
	case in.Bool("no-tls"):
		o.Encryption = engine.EncryptionNone
	}
	if o.Address == "" {
		o.Address = addressOf(m.ToURI)
	}
	return o
}

// addressOf is the address in a host's URI, unless it is one that every host has.
func addressOf(uri string) string {
	u, err := url.Parse(uri)
	if err != nil || u.Hostname() == "localhost" {
		return ""
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil && ip.IsLoopback() {
		return ""
	}
	return u.Hostname()
}

// forgetAt forgets what is kept here about a machine that has left a host.
func (c *call) forgetAt(ctx context.Context, t *target, e *engine.Engine, base string) {
	if err := errors.Join(c.dropMachineRoots(e.Host.URI, t.name), c.dropThere(ctx, e, t.name, base)); err != nil {
		c.note(t.name, err)
	}
	c.dropReport(e.Host.URI, t.name)
	c.forgetHostKey(t)
}

// imageHere is the image of a machine as nix built it here, or nil.
func (c *call) imageHere(ctx context.Context, t *target, id, base string) *engine.Image {
	dirs, err := c.dirs()
	if err != nil {
		return nil
	}
	files := map[string]string{base: storePath(id, base)}
	if t.machine != nil && t.machine.Image.Kind == spec.ImageFlake {
		if built, ok := c.deps.Images(dirs, c.progress, c.log).Recall(t.flake()); ok {
			files[built.Path] = built.OutPath
		}
	}
	for file, outPath := range files {
		if _, err := os.Stat(file); err != nil || outPath == "" {
			continue
		}
		found, err := image.FromBuild(ctx, file, outPath, false, image.Options{
			Source: base, Cache: dirs.Cache, Progress: c.progress, Task: t.name + "/image",
		})
		if err == nil && found.ID == id {
			return &found
		}
		c.log.Debug("look at the image here", "file", file, "error", err)
	}
	return nil
}

// storePath is the path in the nix store that an image's file belongs to, or empty.
func storePath(id, file string) string {
	hash, ok := strings.CutPrefix(id, "nix-")
	store, rest, in := strings.Cut(file, "/"+hash+"-")
	if !ok || !in {
		return ""
	}
	name, _, _ := strings.Cut(rest, "/")
	return store + "/" + hash + "-" + name
}
