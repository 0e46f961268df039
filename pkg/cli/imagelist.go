package cli

import (
	"context"
	"net/url"
	"slices"

	urfave "github.com/urfave/cli/v2"

	"vmctl/pkg/image"
	"vmctl/pkg/ui"
)

func imageListCommand() *command {
	return &command{
		name: "list", run: runImageList,
		summary: "List images on hosts and on this machine",
		about: []string{
			"Lists the images on the hosts that the project's machines are on and on the host in use, and those that are kept here, " +
				"with where they came from and who uses them. An image is in use, unused, busy (another vmctl was at work on it less than " +
				"an hour ago) or unfinished (an upload was cut short).",
		},
		options: []option{{name: "known", help: "list the publishers' images that have short names, as in image: debian:12"}},
		examples: []example{
			{"vmctl image list", ""},
			{"vmctl image list -o json | jq -r '.images[] | select(.state == \"unused\").id'", ""},
			{"vmctl image list --known", "what a definition can name without a URL"},
		},
		json: `{
  "images": [
    ` + imageJSON + `
  ],
  "known": [
    {
      "name": "debian:12",
      "title": "Debian 12 (bookworm)",
      "builds": [
        { "arch": "x86_64", "url": "https://…/debian-12-generic-amd64.qcow2", "checksums": "https://…/SHA512SUMS" }
      ]
    }
  ]
}`,
	}
}

// imagesResult is what image list and inspect tell; known only when it is asked for.
type imagesResult struct {
	Images []imageResult `json:"images"`
	Known  []knownImage  `json:"known,omitempty"`
}

// knownImage is a publisher's image with a short name.
type knownImage struct {
	Name   string       `json:"name"`
	Title  string       `json:"title"`
	Builds []knownBuild `json:"builds"`
}

type knownBuild struct {
	Arch      string `json:"arch"`
	URL       string `json:"url"`
	Checksums string `json:"checksums"`
}

func runImageList(ctx context.Context, c *call, in *urfave.Context) error {
	if in.Bool("known") {
		return c.listKnown()
	}
	all, err := c.allImages(ctx)
	c.progress.Close()
	if c.json() {
		if broken := ui.JSON(c.streams, imagesResult{Images: append([]imageResult{}, all...)}); err == nil {
			err = broken
		}
		return err
	}
	if broken := c.imageTable(all); broken != nil {
		return broken
	}
	if len(all) == 0 && err == nil {
		c.say("there are no images")
	}
	return err
}

func (c *call) imageTable(all []imageResult) error {
	if len(all) == 0 {
		return nil
	}
	host := func(r imageResult) bool { return r.Host != "" }
	first := slices.IndexFunc(all, host)
	several := slices.ContainsFunc(all, func(r imageResult) bool { return host(r) && r.Host != all[first].Host })
	columns := []ui.Column{
		{Title: "IMAGE", Keep: true}, {Title: "WHERE"}, {Title: "SIZE", Right: true}, {Title: "STATE", State: true},
		{Title: "USED BY"}, {Title: "FROM"}, {Title: "MADE"},
	}
	if several {
		columns = append(columns, ui.Column{Title: "HOST"})
	}
	table := ui.NewTable(columns...)
	for _, r := range all {
		size := ""
		if r.Size > 0 {
			size = ui.Bytes(int64(r.Size))
		}
		table.Row(shortImage(r.ID), r.Where, size, r.State, join(r.UsedBy, ", "), from(r.Origin), ago(c.deps.Now(), r.Origin.Made), r.Host)
	}
	return table.Write(c.streams)
}

// listKnown shows the table of publishers' images. No host is asked.
func (c *call) listKnown() error {
	var known []knownImage
	table := ui.NewTable(ui.Column{Title: "NAME", Keep: true}, ui.Column{Title: "WHAT"}, ui.Column{Title: "FOR"}, ui.Column{Title: "FROM"})
	for _, k := range image.KnownImages() {
		row := knownImage{Name: k.Name, Title: k.Title}
		var arches []string
		for _, b := range k.Builds {
			row.Builds = append(row.Builds, knownBuild{Arch: b.Arch, URL: b.URL, Checksums: b.Checksums})
			arches = append(arches, b.Arch)
		}
		known = append(known, row)
		table.Row(k.Name, k.Title, join(arches, ", "), siteOf(k.Builds[0].URL))
	}
	c.progress.Close()
	if c.json() {
		return ui.JSON(c.streams, imagesResult{Images: []imageResult{}, Known: known})
	}
	return table.Write(c.streams)
}

// siteOf is whose server a URL is on.
func siteOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Host
}
