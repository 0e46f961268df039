package cli

import (
	"context"
	"fmt"
	"slices"

	urfave "github.com/urfave/cli/v2"

	"vmctl/pkg/spec"
	"vmctl/pkg/ui"
)

func imagePruneCommand() *command {
	return &command{
		name: "prune", run: runImagePrune,
		summary: "Remove images that nothing uses",
		about: []string{
			"Removes the uploaded images that no root disk lies on, and what uploads left that were cut short, from the hosts that the project's " +
				"machines are on and from the host in use; here, it gives free for nix's garbage collection the images of machines that are " +
				"gone, and removes downloaded and converted ones that neither a machine there nor a definition of the project needs. What another vmctl is at work on stays, whoever runs it: so does an unfinished upload of another user's for an hour.",
		},
		options: []option{{name: "dry-run", help: "only say what would be removed"}},
		examples: []example{
			{"vmctl image prune --dry-run", "see first"},
			{"vmctl image prune -c qemu+ssh://server/system", "on another host"},
		},
		json: `{
  "images": [
    {
      "id": "sha256-9f2c…",
      "where": "uploaded",
      "host": "qemu:///system",
      "name": "base-sha256-9f2c….4c1d20aa-k3jq2m5x.qcow2",
      "why": "nothing uses it",
      "size": 1503657984
    }
  ],
  "size": 1503657984,
  "dryRun": false
}`,
	}
}

// prunedImage is one image that is gone, or would be. Size is in bytes.
type prunedImage struct {
	ID    string    `json:"id"`
	Where string    `json:"where"`
	Host  string    `json:"host"`
	Name  string    `json:"name"`
	Why   string    `json:"why"`
	Size  spec.Size `json:"size"`
}

// pruneResult is what image prune tells.
type pruneResult struct {
	Images []prunedImage `json:"images"`
	Size   spec.Size     `json:"size"`
	DryRun bool          `json:"dryRun"`
}

func runImagePrune(ctx context.Context, c *call, in *urfave.Context) error {
	r := pruneResult{Images: []prunedImage{}, DryRun: in.Bool("dry-run")}
	uris, _, err := c.hostsInUse()
	if err != nil {
		return err
	}
	err = each(ctx, uris, func(uri string) error {
		e, err := c.engine(ctx, uri, nil)
		if err != nil {
			return err
		}
		pruned, err := e.Prune(ctx, r.DryRun)
		for _, p := range pruned {
			r.Images = append(r.Images, prunedImage{p.Image, whereUploaded, e.Host.URI, p.Name, p.Why, p.Size})
		}
		if err != nil {
			return err
		}
		gone, err := c.pruneRoots(ctx, e, r.DryRun)
		r.Images = append(r.Images, gone...)
		if err != nil {
			return err
		}
		gone, err = c.pruneThere(ctx, e, r.DryRun)
		r.Images = append(r.Images, gone...)
		return err
	})
	if ctx.Err() == nil && err == nil {
		// Not where a host did not say what its machines use. The notes are needed for it.
		var cached []prunedImage
		cached, err = c.pruneCache(ctx, r.DryRun)
		r.Images = append(r.Images, cached...)
	}
	if ctx.Err() == nil {
		r.Images = append(r.Images, c.pruneClient(r.DryRun)...)
	}
	for _, i := range r.Images {
		r.Size += i.Size
	}
	c.progress.Close()
	if c.json() {
		if broken := ui.JSON(c.streams, r); err == nil {
			err = broken
		}
		return err
	}
	if broken := c.prunedTable(r.Images); broken != nil {
		return broken
	}
	if err == nil {
		c.say(r.summary())
	}
	return err
}

func (c *call) prunedTable(images []prunedImage) error {
	if len(images) == 0 {
		return nil
	}
	hosts := map[string]bool{}
	for _, i := range images {
		hosts[i.Host] = true
	}
	delete(hosts, "")
	columns := []ui.Column{{Title: "IMAGE", Keep: true}, {Title: "WHERE"}, {Title: "SIZE", Right: true}, {Title: "WHY"}}
	if len(hosts) > 1 {
		columns = append(columns, ui.Column{Title: "HOST"})
	}
	table := ui.NewTable(columns...)
	for _, i := range images {
		table.Row(shortImage(i.ID), i.Where, ui.Bytes(int64(i.Size)), i.Why, i.Host)
	}
	return table.Write(c.streams)
}

// summary is the result in one sentence.
func (r pruneResult) summary() string {
	if len(r.Images) == 0 {
		return "there is nothing to remove"
	}
	did := "removed"
	if r.DryRun {
		did = "would remove"
	}
	text := fmt.Sprintf("%s %s, %s", did, counted(len(r.Images), "image"), ui.Bytes(int64(r.Size)))
	if slices.ContainsFunc(r.Images, func(i prunedImage) bool { return i.Where == whereStore }) {
		text += "; what lies in the nix store goes with nix's next garbage collection: nix store gc"
	}
	return text
}
