package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"vmctl/pkg/spec"
)

// media plans the volumes of the media, before the definition that
// has them.
func (p *planner) media() error {
	if p.remade {
		// The root disk will be another one, and what is in it has been told nothing yet.
		media, err := makeMedia(p.w, lifeOf(p.w.Machine.Name, p.s.domain, true))
		if err != nil {
			return err
		}
		p.s.media = media
	}
	for _, m := range p.s.media {
		p.place(m)
	}
	return nil
}

// place plans the volume of one medium. The marker comes last, so that an upload cut
// short is never taken for the medium.
func (p *planner) place(m medium) {
	there, whole := slices.Contains(p.s.mediaVolumes, m.volume), slices.Contains(p.s.mediaVolumes, marker(m.volume))
	if there && whole {
		return
	}
	cause := "not there"
	if whole {
		p.add(deleteVolume(marker(m.volume), "what it marks is gone"))
	}
	if there {
		cause = "an earlier upload was cut short"
		p.add(deleteVolume(m.volume, cause))
	}
	p.fill(m, cause)
	mark := createVolume(marker(m.volume), "raw", 0, "marks the upload as whole")
	mark.undo = unlessDefined(p.w.Machine.Name, m.volume, marker(m.volume))
	p.add(mark)
}

// fill plans a medium's volume and its content.
func (p *planner) fill(m medium, cause string) {
	create := createVolume(m.volume, "raw", spec.Size(len(m.content)), cause)
	create.undo = unlessDefined(p.w.Machine.Name, m.volume, m.volume)
	p.add(create, Op{
		Action: ActionUploadVolume, Resource: m.volume, When: Now, total: int64(len(m.content)),
		Cause: fmt.Sprintf("%s, %s", m.Role, spec.Size(len(m.content))),
		run:   func(ctx context.Context, e *Engine, sent report) error { return e.uploadMedium(ctx, m, sent) },
	})
}

// unlessDefined takes a volume back unless the definition has come to name the medium:
// a definition that was changed is not changed back.
func unlessDefined(machine, medium, volume string) step {
	return func(ctx context.Context, e *Engine) error {
		d, err := found(e.Host.Domains.Domain(ctx, machine))
		if err != nil {
			return err
		}
		if d != nil && slices.ContainsFunc(d.Disks, func(file string) bool { return strings.HasSuffix(file, "/"+medium) }) {
			return nil
		}
		return e.Host.Volumes.DeleteVolume(ctx, volume)
	}
}

// mediaDisks are the media as the definition has them.
func (p *planner) mediaDisks(target string) []Disk {
	var all []Disk
	for _, m := range p.s.media {
		all = append(all, m.disk(target))
	}
	return all
}

// dropMedia plans the end of media that neither the definition nor the running guest has.
func (p *planner) dropMedia() {
	for _, name := range slices.Backward(p.s.mediaVolumes) {
		// The marker sorts behind its volume and goes first.
		if !p.usesMedium(strings.TrimSuffix(name, marker(""))) {
			p.add(deleteVolume(name, "no longer used"))
		}
	}
}

func (p *planner) usesMedium(name string) bool {
	if slices.ContainsFunc(p.s.media, func(m medium) bool { return m.volume == name }) {
		return true
	}
	if !p.running() || p.s.domain.Live == nil {
		return false
	}
	return slices.ContainsFunc(p.s.domain.Live.Attached, func(d Disk) bool { return strings.HasSuffix(d.Path, "/"+name) })
}
