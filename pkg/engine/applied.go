package engine

import (
	"context"
	"slices"
	"strings"

	"vmctl/pkg/fault"
)

// Applied is a system that a running guest was brought to.
type Applied struct {
	// System is its store path. Image begins the ID of the image that would have the same
	// system in it; empty is not known.
	System, Image string
}

// maxApplied is how many systems are remembered: a rollback goes back a few.
const maxApplied = 12

// ErrImageNeeded is in the error of an Up or a Plan with an image that is not built, of
// which it turned out that it has to be.
var ErrImageNeeded = fault.New(fault.Build, "the image has to be built first")

// HasImage says that the machine is as if its root disk lay on an image of that ID: it does,
// or its guest was brought to the system in it.
func (r *Record) HasImage(id string) bool {
	if len(r.Applied) == 0 {
		return r.Image == id
	}
	return begins(r.Applied[len(r.Applied)-1].Image, id)
}

// begins says that an ID is that of the image of which an Applied knows the beginning.
func begins(image, id string) bool {
	return image != "" && (id == image || strings.HasPrefix(id, image+"-"))
}

// ImageOf is the image that is known to have a system in it, or empty.
func (r *Record) ImageOf(system string) string {
	for _, a := range slices.Backward(r.Applied) {
		if a.System == system && a.Image != "" {
			return a.Image
		}
	}
	return ""
}

// NoteApplied writes down to which system a guest was brought. first is the one that came with
// its image, if that is known.
func (e *Engine) NoteApplied(ctx context.Context, name, first string, now Applied) error {
	unlock, err := e.Locker.Lock(ctx, name)
	if err != nil {
		return err
	}
	defer unlock()
	d, err := e.Managed(ctx, name)
	if err != nil {
		return err
	}
	all := d.Record.Applied
	if len(all) == 0 && begins(now.Image, d.Record.Image) {
		return nil
	}
	if len(all) == 0 && first != "" {
		all = []Applied{{System: first, Image: d.Record.Image}}
	}
	if now.Image == "" {
		now.Image = (&Record{Applied: all}).ImageOf(now.System)
	}
	if n := len(d.Record.Applied); n > 0 && d.Record.Applied[n-1] == now {
		return nil
	}
	all = slices.DeleteFunc(slices.Clone(all), func(a Applied) bool { return a.System == now.System })
	all = append(all, now)
	return e.Host.Domains.NoteApplied(ctx, name, all[max(0, len(all)-maxApplied):])
}

// keptImage is the image that the root disk lies on, where that is as good as the wanted one:
// the guest was brought to the system of the wanted one already, and the disk stays.
func (e *Engine) keptImage(w Wanted, s *snapshot, o Options) *Image {
	d, root := s.domain, s.root
	if d == nil || d.Record == nil || root == nil || len(d.Record.Applied) == 0 || d.Record.Base != root.Backing {
		return nil
	}
	shrinks := w.Machine.Disk != 0 && w.Machine.Disk < root.Capacity && o.Replace
	known := root.BackingFormat == "qcow2" || root.BackingFormat == "raw"
	if shrinks || !known || !d.Record.HasImage(w.Image.ID) {
		return nil
	}
	return &Image{
		ID: d.Record.Image, Source: w.Image.Source, Path: root.Backing, Format: root.BackingFormat,
		InPlace: w.Image.InPlace, Origin: w.Image.Origin,
	}
}

// carried are the systems that a definition made anew goes on to name: they are in the root
// disk.
func (p *planner) carried() []Applied {
	if p.remade || p.s.domain == nil || p.s.domain.Record == nil || p.s.domain.Record.Base != p.base.Path {
		return nil
	}
	return p.s.domain.Record.Applied
}
