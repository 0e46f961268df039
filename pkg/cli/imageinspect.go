package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"vmctl/pkg/ansi"
	"vmctl/pkg/fault"
	"vmctl/pkg/ui"
)

func imageInspectCommand() *command {
	return &command{
		name: "inspect", run: runImageInspect, takes: ownWords,
		summary: "Show all that is known of an image",
		about: []string{
			"Shows what an image is, where it came from and who uses it, in each place where it lies. IMAGE is its ID or the beginning of it, " +
				"the name of its volume, its path, or a machine that uses it.",
		},
		args: &arguments{usage: "IMAGE", one: "an image", least: 1, most: 1, hint: "vmctl image list shows them", complete: completeImages},
		examples: []example{
			{"vmctl image inspect example", "the image that the machine example uses"},
			{"vmctl image inspect nix-8d4fjrwy", ""},
		},
		json: `{
  "images": [
    ` + imageJSON + `
  ]
}`,
	}
}

// completeImages are the images of which is known where they came from.
func completeImages(c *call, _ []string) []string {
	dirs, err := c.dirs()
	if err != nil {
		return c.machineNames()
	}
	return append(c.machineNames(), dirs.Images().Names()...)
}

// inspectResult is what image inspect tells.
type inspectResult struct {
	Images []imageResult `json:"images"`
}

func runImageInspect(ctx context.Context, c *call, _ *urfave.Context) error {
	word := c.line.args[0]
	all, err := c.allImages(ctx)
	found := imagesNamed(all, word)
	c.progress.Close()
	if len(found) == 0 {
		if err != nil {
			return err // it may be where nobody answers
		}
		var names []string
		for _, r := range all {
			names = append(append(names, shortImage(r.ID)), r.UsedBy...)
		}
		return fault.New(fault.NotFound, "there is no image %s", ansi.Plain(word)).
			WithHint("%s", nearest(word, names, "did you mean %s?", "vmctl image list shows the images"))
	}
	for _, r := range found {
		if r.ID != found[0].ID && !contains(r.UsedBy, word) {
			return usagef("%s is the beginning of more than one image", ansi.Plain(word)).
				WithHint("write more of it: %s, %s, …", shortImage(found[0].ID), shortImage(r.ID))
		}
	}
	if c.json() {
		if broken := ui.JSON(c.streams, inspectResult{found}); err == nil {
			err = broken
		}
		return err
	}
	for i, r := range found {
		if i > 0 {
			if err := c.print("\n"); err != nil {
				return err
			}
		}
		if err := c.print(r.text(c.deps.Now())); err != nil {
			return err
		}
	}
	return err
}

// text is the image for people.
func (r imageResult) text(now time.Time) string {
	var b strings.Builder
	line := func(key, value string) {
		if value = ansi.Line(value); value != "" {
			fmt.Fprintf(&b, "%-10s %s\n", key+":", value)
		}
	}
	size := func(n int64) string {
		if n == 0 {
			return ""
		}
		return ui.Bytes(n)
	}
	line("image", r.ID)
	line("where", r.Where)
	line("host", r.Host)
	line("volume", r.Name)
	line("path", r.Path)
	line("format", r.Format)
	line("takes", size(int64(r.Size)))
	line("disk", size(int64(r.Capacity)))
	line("state", r.State)
	line("used by", join(r.UsedBy, ", "))
	o := r.Origin
	line("from", o.Source)
	line("flake", o.Flake)
	line("attribute", o.Attr)
	rev := o.Rev
	if o.Dirty {
		rev = strings.TrimPrefix(rev+" and uncommitted changes", " and ")
	}
	line("revision", rev)
	line("nar hash", o.NarHash)
	line("drv", o.Drv)
	line("url", o.URL)
	line("digest", o.Digest)
	if !o.Made.IsZero() {
		line("made", fmt.Sprintf("%s (%s)", o.Made.UTC().Format(time.RFC3339), ago(now, o.Made)))
	}
	if !o.Known() {
		line("from", "nobody knows: it was not noted")
	}
	return b.String()
}
