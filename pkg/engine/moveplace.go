package engine

import (
	"context"
	"path"
	"slices"
	"strings"
)

// placeOps bring the image to the other host, as up would, and prepare it otherwise.
func (m *Move) placeOps(s *moveSnapshot) []MoveOp {
	var ops []MoveOp
	for _, o := range poolOps(s.to.pool) {
		ops = append(ops, m.there(preparing, o))
	}
	for _, name := range networks(s.from.domain.Record.cards()) {
		if !s.network[name].Active {
			ops = append(ops, m.there(preparing, startNetwork(name)))
		}
	}
	if s.placed == nil {
		for _, o := range m.uploadOps(s) {
			placing := MoveOp{Host: m.ToName, Op: o, on: m.To, stage: preparing}
			ops = append(ops, placing)
		}
	}
	mark := []byte(m.From.Host.URI + "\n")
	ops = append(ops,
		m.there(preparing, createMarker(m.Name, mark)),
		m.there(preparing, fillMarker(m.Name, mark)),
		// First of the machine's files: whoever brings the machine up there looks for it.
		m.there(preparing, m.makeRoot(s)))
	return append(ops, m.leaveOps(s)...)
}

// placing is the image's way to the other host, as up plans it.
func (m *Move) placing(s *moveSnapshot) *planner {
	p := &planner{e: m.To, w: Wanted{Image: *s.image}, s: &snapshot{pool: s.to.pool, unfinished: s.unfinished}, plan: &Plan{}}
	if s.image.Path != "" {
		p.s.resumable = s.resumable
	}
	return p
}

// uploadOps are those with which up places an image. What the client has not, comes from
// the first host, in one go.
func (m *Move) uploadOps(s *moveSnapshot) []Op {
	p := m.placing(s)
	p.upload()
	if s.image.Path != "" {
		return p.plan.Ops
	}
	name, source := p.uploadName(), s.baseVolume.Name
	ops := slices.DeleteFunc(p.plan.Ops, func(o Op) bool { return o.Resource == sentVolume(name) })
	for i, o := range ops {
		if o.Action == ActionUploadVolume && o.Resource == name {
			ops[i].Cause = "from " + m.FromName
			ops[i].run = func(ctx context.Context, e *Engine, sent report) error {
				return m.copyFile(ctx, source, name, "", filling(e), sent)
			}
		}
	}
	return ops
}

// basePath is where the image lies, or will, on the other host.
func (m *Move) basePath(s *moveSnapshot) string {
	if s.placed != nil {
		return s.placed.Path
	}
	return inPool(s.to.pool, m.placing(s).uploadName())
}

func inPool(p Pool, name string) string { return strings.TrimSuffix(p.Target, "/") + "/" + name }

// relocation says what all files are called on the other host, also those that are not
// there yet.
func (m *Move) relocation(s *moveSnapshot) Relocation {
	r := Relocation{Paths: map[string]string{s.from.domain.Record.Base: m.basePath(s)}}
	names := []string{RootVolume(m.Name), LogVolume(m.Name), VarsVolume(m.Name, false), VarsVolume(m.Name, true)}
	for _, disk := range s.from.domain.Disks {
		names = append(names, path.Base(disk))
	}
	for _, name := range names {
		r.Paths[inPool(s.from.pool, name)] = inPool(s.to.pool, name)
	}
	return r
}
