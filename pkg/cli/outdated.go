package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/image"
	"vmctl/pkg/spec"
	"vmctl/pkg/ui"
)

func outdatedCommand() *command {
	return &command{
		name: "outdated", group: look, takes: anyMachines, run: runOutdated,
		summary: "Say which machines run an older image than declared",
		about: []string{
			"Compares the image that each machine's root disk lies on with the one that its definition would give now: a flake is " +
				"evaluated, unless it has not changed since it was built, and a file is read. Nothing is built, fetched or changed. " +
				"Without names all machines of the project are looked at. A machine that vmctl apply has brought up to date is not outdated, whatever its root disk lies on.",
			"Exits with 2 when one is outdated, with 0 when none is.",
		},
		options: []option{{name: "refresh", help: "fetch the inputs of the flake again, and evaluate without the cache"}},
		examples: []example{
			{"vmctl outdated", ""},
			{"vmctl outdated || vmctl plan --all", "what would be done about it"},
			{"vmctl outdated --refresh web", "after its branch has moved"},
		},
		json: `{
  "machines": [
    {
      "name": "example",
      "host": "qemu:///session",
      "state": "outdated",
      "image": "nix-8d4fjrwy8yn6vqkq6ikdzzhqjm8w0hjp",
      "origin": ` + originJSON + `,
      "wanted": "nix-3kq0w7z2m1s9v5c8a4b6d7f9g0h2i3j4",
      "wantedOrigin": ` + originJSON + `
    }
  ]
}`,
	}
}

// The states of a machine's image, beside notCreated.
const (
	stateCurrent  = "current"
	stateOutdated = "outdated"
	stateUnknown  = "unknown"
)

// outdatedResult is what outdated tells of one machine: the image that it runs, and the
// one it would get, which need not be built yet.
type outdatedResult struct {
	Name         string        `json:"name"`
	Host         string        `json:"host"`
	State        string        `json:"state"`
	Image        string        `json:"image"`
	Origin       engine.Origin `json:"origin"`
	Wanted       string        `json:"wanted"`
	WantedOrigin engine.Origin `json:"wantedOrigin"`
}

func runOutdated(ctx context.Context, c *call, in *urfave.Context) error {
	names := unique(c.line.args)
	if len(names) == 0 {
		p, err := c.project()
		if err != nil {
			return err
		}
		if names, err = p.Names(); err != nil {
			return err
		}
	}
	var all []outdatedResult
	old := 0
	err := each(ctx, names, func(name string) error {
		r, err := c.outdated(ctx, name, in.Bool("refresh"))
		if r != nil {
			all = append(all, *r)
			if r.State == stateOutdated {
				old++
			}
		}
		return err
	})
	c.progress.Close()
	if !c.json() {
		if broken := c.outdatedTable(all); broken != nil {
			return broken
		}
		if err == nil {
			c.say(outdatedSummary(all, old))
		}
	}
	if err := results(c, all, err); err != nil {
		return err
	}
	if old > 0 {
		return errPending
	}
	return nil
}

func outdatedSummary(all []outdatedResult, old int) string {
	switch {
	case len(all) == 0:
		return "the project has no machines"
	case old == 0:
		return "no machine is outdated"
	}
	return fmt.Sprintf("%s outdated; vmctl plan NAME shows what an up would do", counted(old, "machine")+map[bool]string{true: " is", false: " are"}[old == 1])
}

func (c *call) outdatedTable(all []outdatedResult) error {
	if len(all) == 0 {
		return nil
	}
	table := ui.NewTable(ui.Column{Title: "NAME", Keep: true}, ui.Column{Title: "STATE", State: true}, ui.Column{Title: "IMAGE"},
		ui.Column{Title: "FROM"}, ui.Column{Title: "WOULD BE"}, ui.Column{Title: "FROM"})
	for _, r := range all {
		table.Row(r.Name, r.State, shortImage(r.Image), from(r.Origin), shortImage(r.Wanted), from(r.WantedOrigin))
	}
	return table.Write(c.streams)
}

// outdated looks at one machine. The result is also there for one that is not on its host.
func (c *call) outdated(ctx context.Context, name string, refresh bool) (*outdatedResult, error) {
	t, err := c.declared(name)
	if err != nil {
		return nil, err
	}
	c.look(ctx, t)
	e, err := c.engine(ctx, t.uri, nil)
	if err != nil {
		return nil, err
	}
	r := &outdatedResult{Name: name, Host: e.Host.URI, State: notCreated, WantedOrigin: engine.Origin{Source: t.machine.Image.String()}}
	d, err := e.Managed(ctx, name)
	if fault.Is(err, fault.NotFound) {
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	dirs, err := c.dirs()
	if err != nil {
		return nil, err
	}
	runs := readImageNote(dirs.Images(), d.Record.Image)
	r.Image, r.Origin = d.Record.Image, runs.Origin
	if !runs.Known() {
		r.Origin.Source = d.Record.Source
	}
	same := false
	switch t.machine.Image.Kind {
	case spec.ImageFlake:
		same, err = c.evaluateImage(ctx, t, r, runs.OutPath, refresh)
	case spec.ImageFile:
		var img engine.Image
		img, err = image.Open(ctx, t.path(t.machine.Image.Ref), image.Options{Cache: dirs.Cache, Progress: c.progress, Now: c.deps.Now, Task: name + "/image"})
		r.Wanted, same = img.ID, img.ID == r.Image
	default:
		r.State = stateUnknown
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	if n := len(d.Record.Applied); n > 0 {
		// The guest has another system than the image that its root disk lies on.
		r.Image, r.Origin = d.Record.Applied[n-1].Image, engine.Origin{Source: d.Record.Source}
		if same = d.Record.HasImage(r.Wanted); same {
			r.Origin = r.WantedOrigin
		}
	}
	r.State = stateOutdated
	if same {
		r.State, r.Wanted, r.WantedOrigin = stateCurrent, r.Image, r.Origin
	}
	return r, nil
}

// evaluateImage asks nix what a machine's image would be, and says whether it is the one
// that lies in the store path out, or is called like it.
func (c *call) evaluateImage(ctx context.Context, t *target, r *outdatedResult, out string, refresh bool) (same bool, err error) {
	dirs, err := c.dirs()
	if err != nil {
		return false, err
	}
	res, err := c.deps.Images(dirs, c.progress, c.log).Evaluate(ctx, t.flake(), refresh)
	if err != nil {
		return false, err
	}
	hash, _, _ := strings.Cut(filepath.Base(res.OutPath), "-")
	r.Wanted = "nix-" + hash
	r.WantedOrigin = flakeOrigin(t, res)
	// An image that is a link to another store path is named by that one.
	return res.OutPath == out || r.Image == r.Wanted || strings.HasPrefix(r.Image, r.Wanted+"-"), nil
}
