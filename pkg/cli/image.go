package cli

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"vmctl/pkg/ansi"
	"vmctl/pkg/engine"
	"vmctl/pkg/spec"
)

func imageCommand() *command {
	return &command{
		name: "image", group: build, summary: "See which images there are, and remove the unused",
		about: []string{
			"An image lies on a host when it had to be uploaded, once for all machines that use it; in the nix store, kept from " +
				"garbage collection as long as a machine on a host needs it; or in the cache of downloaded and converted ones. " +
				"vmctl down removes what its machine alone used: the rest stays for image prune.",
		},
		verbs:    []*command{imageListCommand(), imageInspectCommand(), imagePruneCommand()},
		examples: []example{{"vmctl image list", ""}, {"vmctl image prune --dry-run", "what could go"}},
	}
}

// The places of images, as people and scripts see them.
const (
	whereUploaded = "uploaded"
	whereInPlace  = "in place"
	whereStore    = "nix store"
	// whereHostStore is the nix store of a host.
	whereHostStore = "nix store of the host"
	whereCache     = "cache"
)

// imageResult is one image in one place. Sizes are in bytes: Size is what it takes there,
// Capacity how large a disk it is, 0 where that is not known.
type imageResult struct {
	ID       string        `json:"id"`
	Where    string        `json:"where"`
	Host     string        `json:"host"`
	Name     string        `json:"name"`
	Path     string        `json:"path"`
	Format   string        `json:"format"`
	Size     spec.Size     `json:"size"`
	Capacity spec.Size     `json:"capacity"`
	State    string        `json:"state"`
	UsedBy   []string      `json:"usedBy"`
	Origin   engine.Origin `json:"origin"`
}

const originJSON = `{
        "source": "images/example",
        "flake": "/home/me/vms/images/example",
        "attr": "nixosConfigurations.example.config.system.build.qcow2",
        "rev": "8f1c…",
        "dirty": true,
        "narHash": "sha256-…",
        "drv": "/nix/store/p1c4…-nixos-disk-image.drv",
        "url": "https://example.org/disk.qcow2",
        "digest": "sha256:9f2c…",
        "made": "2026-01-02T15:04:05Z"
      }`

const imageJSON = `{
      "id": "sha256-9f2c…",
      "where": "uploaded",
      "host": "qemu+ssh://server/system",
      "name": "base-sha256-9f2c….4c1d20aa-k3jq2m5x.qcow2",
      "path": "/var/lib/libvirt/images/vmctl/base-sha256-9f2c….4c1d20aa-k3jq2m5x.qcow2",
      "format": "qcow2",
      "size": 1503657984,
      "capacity": 4294967296,
      "state": "in use",
      "usedBy": ["example"],
      "origin": ` + originJSON + `
    }`

// shortImage is enough of an image's ID for people; other words stay as they are.
func shortImage(id string) string { return engine.Image{ID: id}.ShortID() }

// allImages are the images on the hosts in question and on the client. What one host
// does not tell does not hide the others.
func (c *call) allImages(ctx context.Context) ([]imageResult, error) {
	uris, invalid, err := c.hostsInUse()
	if err != nil {
		return nil, err
	}
	found, failed := allOf(askHosts(ctx, c.asking(), uris, c.hostImages, nil))
	var all []imageResult
	present := map[string]map[string]bool{} // machines by host
	for _, h := range found {
		all = append(all, h.images...)
		if h.machines != nil {
			present[h.uri] = h.machines
		}
	}
	if ctx.Err() != nil {
		return all, failed
	}
	all = c.withCached(c.withClientImages(all, present))
	slices.SortStableFunc(all, func(a, b imageResult) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Where, b.Where), cmp.Compare(a.ID, b.ID))
	})
	return all, spec.Join(failed, invalid)
}

// hostsInUse are the URIs of the hosts that the project's machines are on, and of the
// one in use. The second result is what is wrong in definitions.
func (c *call) hostsInUse() (uris []string, invalid, err error) {
	uri, err := c.uri("")
	if err != nil {
		return nil, nil, err
	}
	machines, invalid, err := c.machinesByHost()
	uris = slices.AppendSeq([]string{uri}, maps.Keys(machines))
	slices.Sort(uris)
	return slices.Compact(uris), invalid, err
}

// domainsOn are the names of a host's domains.
func domainsOn(ctx context.Context, e *engine.Engine) (map[string]bool, error) {
	domains, err := e.Host.Domains.ListDomains(ctx, engine.Briefly)
	there := map[string]bool{}
	for _, d := range domains {
		there[d.Name] = true
	}
	return there, err
}

// imagesOn are a host's images, and the machines that are there; nil when it did not say.
type imagesOn struct {
	uri      string
	images   []imageResult
	machines map[string]bool
}

func (c *call) hostImages(ctx context.Context, uri string) (on imagesOn, err error) {
	e, err := c.engine(ctx, uri, nil)
	if err != nil {
		return on, err
	}
	images, err := e.Images(ctx)
	if err != nil {
		return on, err
	}
	on.uri = e.Host.URI
	if on.machines, err = domainsOn(ctx, e); err != nil {
		return imagesOn{}, err
	}
	for _, i := range images {
		r := imageResult{
			ID: i.ID, Where: whereUploaded, Host: e.Host.URI, Name: i.Name, Path: i.Path, Format: i.Format,
			Size: i.Allocation, Capacity: i.Capacity, State: string(i.State), UsedBy: words(i.UsedBy), Origin: i.Origin,
		}
		if i.Name == "" {
			r.Where = whereInPlace
		}
		on.images = append(on.images, r)
	}
	return on, nil
}

// words is never nil: it is a list in JSON also when there is nothing in it.
func words(list []string) []string { return append([]string{}, list...) }

// from says in one cell where an image came from.
func from(o engine.Origin) string {
	text := o.Source
	if text == "" {
		text = cmp.Or(o.URL, o.Flake, o.Digest)
	}
	switch {
	case o.Rev != "":
		text += " @ " + o.Rev[:min(len(o.Rev), 8)]
		if o.Dirty {
			text += " and changes"
		}
	case o.Dirty:
		text += " with changes"
	}
	return ansi.Plain(text)
}

// ago is how long ago something was, for people.
func ago(now, then time.Time) string {
	if then.IsZero() {
		return ""
	}
	for _, unit := range []struct {
		of   time.Duration
		word string
	}{{365 * 24 * time.Hour, "year"}, {30 * 24 * time.Hour, "month"}, {24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}} {
		if n := int(now.Sub(then) / unit.of); n >= 1 {
			return counted(n, unit.word) + " ago"
		}
	}
	return "just now"
}

// named are the images that a word means: an ID or the beginning of one, a volume, a
// path, or the machine that uses it.
func imagesNamed(all []imageResult, word string) []imageResult {
	for _, is := range []func(imageResult) bool{
		func(r imageResult) bool { return word == r.ID || word == r.Name || word == r.Path },
		func(r imageResult) bool { return contains(r.UsedBy, word) },
		func(r imageResult) bool {
			_, hash, _ := strings.Cut(r.ID, "-")
			return len(word) >= 4 && (strings.HasPrefix(r.ID, word) || strings.HasPrefix(hash, word))
		},
	} {
		if found := slices.DeleteFunc(slices.Clone(all), func(r imageResult) bool { return !is(r) }); len(found) > 0 {
			return found
		}
	}
	return nil
}
