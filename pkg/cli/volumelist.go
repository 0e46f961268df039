package cli

import (
	"context"
	"slices"

	urfave "github.com/urfave/cli/v2"

	"vmctl/pkg/engine"
	"vmctl/pkg/spec"
	"vmctl/pkg/ui"
)

func volumeListCommand() *command {
	return &command{
		name: "list", run: runVolumeList, takes: anyMachines,
		summary: "List data volumes",
		about: []string{
			"Lists the data volumes that vmctl made on the host, of the machines that are named or of all, also of machines that are down. USED is what a volume takes on the host.",
		},
		examples: []example{{"vmctl volume list", ""}, {"vmctl volume list example", "those of one machine"}},
		json: `{
  "volumes": [
    {
      "name": "example/data",
      "host": "qemu:///session",
      "path": "/…/example.0e7a….data-data.qcow2",
      "size": 53687091200,
      "used": 1288490188,
      "encrypted": false,
      "unfinished": false,
      "domains": ["example"],
      "running": true
    }
  ]
}`,
	}
}

// volumeRow is one data volume. Sizes are in bytes.
type volumeRow struct {
	Name       string    `json:"name"`
	Host       string    `json:"host"`
	Path       string    `json:"path"`
	Size       spec.Size `json:"size"`
	Used       spec.Size `json:"used"`
	Encrypted  bool      `json:"encrypted"`
	Unfinished bool      `json:"unfinished"`
	// Domains are those that have it; Running says that one of them runs.
	Domains []string `json:"domains"`
	Running bool     `json:"running"`
}

func volumeRowOf(host string, v engine.DataVolumeInfo) volumeRow {
	row := volumeRow{
		Name: v.String(), Host: host, Path: v.Volume.Path, Size: v.Volume.Capacity, Used: v.Volume.Allocation,
		Encrypted: v.Volume.Encrypted, Unfinished: v.Unfinished, Domains: []string{},
	}
	for _, u := range v.Users {
		row.Running = row.Running || u.Running
		if !slices.Contains(row.Domains, u.Domain) {
			row.Domains = append(row.Domains, u.Domain)
		}
	}
	return row
}

// state is the volume's state in a word.
func (r volumeRow) state() string {
	switch {
	case r.Unfinished:
		return "unfinished"
	case r.Running:
		return "in use"
	case len(r.Domains) > 0:
		return "attached"
	default:
		return "kept"
	}
}

type volumesResult struct {
	Volumes []volumeRow `json:"volumes"`
}

func runVolumeList(ctx context.Context, c *call, _ *urfave.Context) error {
	result := volumesResult{Volumes: []volumeRow{}}
	add := func(e *engine.Engine, machine string) error {
		all, err := e.DataVolumes(ctx, machine)
		for _, v := range all {
			result.Volumes = append(result.Volumes, volumeRowOf(e.Host.URI, v))
		}
		return err
	}
	if len(c.line.args) == 0 {
		uri, err := c.uri("")
		if err != nil {
			return err
		}
		e, err := c.engine(ctx, uri, nil)
		if err != nil {
			return err
		}
		if err := add(e, ""); err != nil {
			return err
		}
	}
	for _, name := range unique(c.line.args) {
		t, e, err := c.open(ctx, name)
		if err != nil {
			return err
		}
		before := len(result.Volumes)
		if err := add(e, name); err != nil {
			return err
		}
		if len(result.Volumes) == before && t.machine == nil {
			// A machine that is gone may have left volumes; of one that never was there are none.
			if _, err := e.Look(ctx, name); err != nil {
				return c.known(ctx, t, e, err)
			}
		}
	}
	c.progress.Close()
	if c.json() {
		return ui.JSON(c.streams, result)
	}
	table := ui.NewTable(
		ui.Column{Title: "VOLUME", Keep: true}, ui.Column{Title: "STATE", State: true},
		ui.Column{Title: "SIZE", Right: true}, ui.Column{Title: "USED", Right: true},
		ui.Column{Title: "DOMAIN"}, ui.Column{Title: "ENCRYPTED"},
	)
	for _, r := range result.Volumes {
		encrypted := ""
		if r.Encrypted {
			encrypted = "yes"
		}
		table.Row(r.Name, r.state(), r.Size.String(), r.Used.String(), join(r.Domains, ", "), encrypted)
	}
	if table.Len() == 0 {
		if names := c.line.args; len(names) > 0 {
			c.say("there are no data volumes of " + join(unique(names), ", "))
		} else {
			c.say("there are no data volumes")
		}
		return nil
	}
	return table.Write(c.streams)
}
