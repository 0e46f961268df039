package cli

import (
	"context"
	"os"
	"path/filepath"
	"slices"

	"vmctl/pkg/builder"
	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
	"vmctl/pkg/ui"
)

// offered is one configuration that could be brought up.
type offered struct {
	// Image is what to write behind image: or vmctl up.
	Image string `json:"image"`
	// Flake and Configuration are its two parts, Machine what vmctl up would call it.
	Flake         string `json:"flake"`
	Configuration string `json:"configuration"`
	Machine       string `json:"machine"`
	// Declared are the machines of the project whose image it is.
	Declared []string `json:"declared"`
}

// listAvailable lists what flakes offer, by names alone. A flake that cannot be read does
// not keep the others from being listed.
func (c *call) listAvailable(ctx context.Context) error {
	dirs, err := c.dirs()
	if err != nil {
		return err
	}
	flakes, declared, err := c.flakesHere()
	if err != nil {
		return err
	}
	rows := []offered{}
	images := c.deps.Images(dirs, c.progress, c.log)
	failed := each(ctx, flakes, func(flake string) error {
		found, err := c.offers(ctx, images, flake, declared)
		rows = append(rows, found...)
		return err
	})
	c.progress.Close()
	if c.json() {
		if err := ui.JSON(c.streams, struct {
			Available []offered `json:"available"`
		}{rows}); err != nil {
			return err
		}
		return failed
	}
	if len(rows) == 0 {
		if failed == nil {
			c.say("there is no NixOS configuration here; vmctl list --available FLAKE looks elsewhere")
		}
		return failed
	}
	table := ui.NewTable(ui.Column{Title: "IMAGE", Keep: true}, ui.Column{Title: "MACHINE"})
	for _, r := range rows {
		table.Row(r.Image, join(r.Declared, ", "))
	}
	if err := table.Write(c.streams); err != nil {
		return err
	}
	return failed
}

// offers is what one flake offers.
func (c *call) offers(ctx context.Context, images Images, flake string, declared map[string]string) ([]offered, error) {
	img, err := spec.ParseImage(flake)
	if err == nil && (img.Kind != spec.ImageFlake || img.Attr != "") {
		err = usagef("%s is not a flake", flake).WithHint("name a directory that holds flake.nix, or a URL such as github:owner/repo")
	}
	if err != nil {
		return nil, err
	}
	ref := builder.Ref{Flake: img.Ref, Display: flake, TaskID: flake + "/offers"}
	if isPath(img.Ref) {
		if ref.Flake, err = c.here(img.Ref); err != nil {
			return nil, err
		}
	}
	names, err := images.Offers(ctx, ref)
	var rows []offered
	for _, name := range names {
		row := offered{Image: img.Ref + "#" + name, Flake: img.Ref, Configuration: name, Declared: []string{}}
		if spec.CheckName(name) == nil {
			row.Machine = name
		}
		for machine, image := range declared {
			if image == row.Image || image == img.Ref && (name == machine || len(names) == 1) {
				row.Declared = append(row.Declared, machine)
			}
		}
		slices.Sort(row.Declared)
		rows = append(rows, row)
	}
	return rows, err
}

// here makes a path that was given on the command line, or found here, absolute.
func (c *call) here(path string) (string, error) {
	if filepath.IsAbs(path) {
		return path, nil
	}
	base := ""
	if p, err := c.projectOrNone(); err == nil && p != nil && len(c.line.args) == 0 {
		base = p.Dir
	} else if base, err = c.deps.Getwd(); err != nil {
		return "", fault.New(fault.NotFound, "the current directory cannot be read: %w", err)
	}
	return filepath.Join(base, path), nil
}

// flakesHere are the flakes named on the command line, else those of the project, or of
// the current directory where there is none. The map is the images of the project's machines.
func (c *call) flakesHere() ([]string, map[string]string, error) {
	declared := map[string]string{}
	p, err := c.projectOrNone()
	if err != nil {
		return nil, nil, err
	}
	if p != nil {
		machines, _ := p.LoadAll() // list says what is wrong with definitions
		for _, m := range machines {
			declared[m.Name] = m.Image.String()
		}
	}
	if len(c.line.args) > 0 {
		return unique(c.line.args), declared, nil
	}
	base, err := c.here(".")
	if err != nil {
		return nil, nil, err
	}
	var flakes []string
	found, _ := filepath.Glob(filepath.Join(base, "images", "*", "flake.nix"))
	for _, path := range append([]string{filepath.Join(base, "flake.nix")}, found...) {
		if _, err := os.Stat(path); err != nil {
			continue
		}
		if dir, err := filepath.Rel(base, filepath.Dir(path)); err == nil {
			flakes = append(flakes, dir)
		}
	}
	return flakes, declared, nil
}
