package engine

import (
	"path"
	"slices"
	"strings"
)

const (
	basePrefix = "base-"

	commitSuffix = "ok"
	sentSuffix   = "sent"
	leaseSuffix  = "lease"
	doomSuffix   = "doomed"
)

// Token tells the uploads of one client from those of others, and from its own earlier
// ones. The names of uploaded images hold it: no name is ever used for two uploads, so
// that what was found to be unused can be removed by its name, whatever others begin
// meanwhile. Without a token there is only one client, as in older versions.
type Token struct {
	// Client is the same in all vmctl that share their locks, and in no other; Run is
	// another in each run. Both are letters and digits.
	Client, Run string
}

func (t Token) String() string {
	if t.Client == "" {
		return ""
	}
	return t.Client + "-" + t.Run
}

// BaseVolume is the name under which an image is uploaded.
func BaseVolume(img Image, token Token) string {
	return baseName{id: img.ID, token: token.String(), format: img.Format}.String()
}

// CommitVolume is the name of the volume that says that BaseVolume was uploaded whole:
// libvirt cannot rename. In it stands where the image came from.
func CommitVolume(base string) string { return base + "." + commitSuffix }

// sentVolume is the name of the volume that says how much of BaseVolume has arrived.
func sentVolume(base string) string { return base + "." + sentSuffix }

// baseName is the name of a volume that has to do with an uploaded image:
//
//	base-ID[.TOKEN].FORMAT                   one upload of the image
//	base-ID[.TOKEN].FORMAT.sent              how much of it has arrived
//	base-ID[.TOKEN].FORMAT.ok                it is whole
//	base-ID[.TOKEN].FORMAT.doomed[-CLIENT]   the client is about to remove it
//	base-ID[.CLIENT].lease                   the client is about to lay a root disk on the image
type baseName struct {
	id, token, format string
	// role is one of the suffixes; empty for the upload itself.
	role string
	// client is whose a lease or a removal is.
	client string
}

func (n baseName) String() string {
	name := basePrefix + n.id
	if n.role == leaseSuffix {
		return name + optional(".", n.client) + "." + leaseSuffix
	}
	name += optional(".", n.token) + "." + n.format
	if n.role == "" {
		return name
	}
	return name + "." + n.role + optional("-", n.client)
}

// shownName is the name of a volume for people. Few lines have room for all of an upload's.
func shownName(volume string) string {
	n, ok := parseBase(volume)
	if !ok {
		return volume
	}
	n.id = shortID(n.id)
	return n.String()
}

// uploader is the client whose upload it is.
func (n baseName) uploader() string {
	client, _, _ := strings.Cut(n.token, "-")
	return client
}

// of is the name of the upload that a marker stands beside.
func (n baseName) of() string {
	n.role, n.client = "", ""
	return n.String()
}

func optional(sign, word string) string {
	if word == "" {
		return ""
	}
	return sign + word
}

// parseBase reads a name. Names that vmctl does not give are none.
func parseBase(name string) (baseName, bool) {
	rest, ok := strings.CutPrefix(name, basePrefix)
	parts := strings.Split(rest, ".")
	n := baseName{id: parts[0]}
	if parts = parts[1:]; !ok || n.id == "" || len(parts) == 0 {
		return baseName{}, false
	}
	last := len(parts) - 1
	switch word, client, _ := strings.Cut(parts[last], "-"); {
	case parts[last] == leaseSuffix:
		n.role, n.client = leaseSuffix, strings.Join(parts[:last], ".")
		return n, n.String() == name
	case parts[last] == commitSuffix, parts[last] == sentSuffix:
		n.role, parts = parts[last], parts[:last]
	case word == doomSuffix:
		n.role, n.client, parts = doomSuffix, client, parts[:last]
	}
	if len(parts) == 0 || len(parts) > 2 {
		return baseName{}, false
	}
	n.format = parts[len(parts)-1]
	if len(parts) == 2 {
		n.token = parts[0]
	}
	return n, (n.format == "qcow2" || n.format == "raw") && n.String() == name
}

// baseCopy is one upload of an image with the markers beside it.
type baseCopy struct {
	name baseName
	// volume is nil when only markers are left.
	volume *Volume
	commit *Volume
	sent   *Volume
	dooms  []doom
}

type doom struct {
	client string
	volume Volume
}

// whole says that a root disk may lie on it.
func (c *baseCopy) whole() bool { return c.volume != nil && c.commit != nil }

// volumes are all there is of it, in the order in which they are removed: what is left
// when that is interrupted is never taken for an image.
func (c *baseCopy) volumes() []Volume {
	var all []Volume
	for _, v := range []*Volume{c.commit, c.volume, c.sent} {
		if v != nil {
			all = append(all, *v)
		}
	}
	for _, d := range c.dooms {
		all = append(all, d.volume)
	}
	return all
}

// bases are the uploads of one image, by name.
type bases struct {
	id     string
	copies []*baseCopy
	leases []lease
}

type lease struct {
	client string
	volume Volume
}

// readBases sorts out what in a pool has to do with uploaded images. Other volumes are
// not looked at.
func readBases(volumes []Volume) []*bases {
	var all []*bases
	byID, byName := map[string]*bases{}, map[string]*baseCopy{}
	for _, v := range volumes {
		n, ok := parseBase(v.Name)
		if !ok {
			continue
		}
		b := byID[n.id]
		if b == nil {
			b = &bases{id: n.id}
			byID[n.id], all = b, append(all, b)
		}
		if n.role == leaseSuffix {
			b.leases = append(b.leases, lease{n.client, v})
			continue
		}
		c := byName[n.of()]
		if c == nil {
			c = &baseCopy{name: baseName{id: n.id, token: n.token, format: n.format}}
			byName[n.of()], b.copies = c, append(b.copies, c)
		}
		switch n.role {
		case commitSuffix:
			c.commit = &v
		case sentSuffix:
			c.sent = &v
		case doomSuffix:
			c.dooms = append(c.dooms, doom{n.client, v})
		default:
			c.volume = &v
		}
	}
	return all
}

// basesNamed is readBases where no more than names is known.
func basesNamed(names []string) []*bases {
	volumes := make([]Volume, len(names))
	for i, name := range names {
		volumes[i].Name = name
	}
	return readBases(volumes)
}

// usable is the upload of a format that a root disk may be laid on: whole, and about to
// be removed by nobody. The client's own comes first.
func (b *bases) usable(format, client string) *baseCopy {
	var found *baseCopy
	for _, c := range b.copies {
		if c.name.format != format || !c.whole() || len(c.dooms) > 0 {
			continue
		}
		if found == nil || c.name.uploader() == client && found.name.uploader() != client {
			found = c
		}
	}
	return found
}

// resumable is the one of the client's own unfinished uploads that can go on: its volume
// says how much has arrived.
func (b *bases) resumable(format, client string) *baseCopy {
	for _, c := range b.unfinished(client) {
		if c.name.format == format && c.volume != nil && c.sent != nil && c.commit == nil && len(c.dooms) == 0 {
			return c
		}
	}
	return nil
}

// unfinished are the client's own uploads that were cut short.
func (b *bases) unfinished(client string) []*baseCopy {
	return slices.DeleteFunc(slices.Clone(b.copies), func(c *baseCopy) bool {
		return c.whole() || c.name.uploader() != client || c.beingRemoved(client)
	})
}

// doomedBy says that the client is removing it. When it is not whole any more, that was
// found to be right.
func (c *baseCopy) doomedBy(client string) bool {
	return slices.ContainsFunc(c.dooms, func(d doom) bool { return d.client == client })
}

// beingRemoved says that another client is removing it: it will do that to the end.
func (c *baseCopy) beingRemoved(client string) bool {
	return slices.ContainsFunc(c.dooms, func(d doom) bool { return d.client != client })
}

// Uploaded reports whether a path on a host is that of an uploaded image, by its name.
func Uploaded(at string) bool {
	n, ok := parseBase(path.Base(at))
	return ok && n.role == ""
}

// imageAt is the ID of the uploaded image at a path on the host.
func imageAt(pool Pool, at string) (string, bool) {
	n, ok := parseBase(path.Base(at))
	return n.id, ok && n.role == "" && path.Dir(at) == path.Clean(pool.Target)
}
