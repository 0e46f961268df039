package engine

import (
	"bytes"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// Plan is what has to be done, in order.
type Plan struct {
	Machine string `json:"machine"`
	Host    string `json:"host"`
	Ops     []Op   `json:"operations"`
	// Pending are differences that a running guest gets at its next boot.
	Pending []string `json:"pending"`
	// Notes are what a person should know about how it is done.
	Notes []string `json:"notes"`

	// replace says why the root disk has to be replaced, when nobody allowed it; appliable
	// that its guest can get what is new without that.
	replace   string
	appliable bool
	// booting says that the guest goes on running, and has not been seen ready.
	booting bool
	// partial says that the rest can be planned only after this has been done.
	partial bool
	// leased says that a root disk is to be laid on an uploaded image, which needs a lease;
	// laid, when set, is called when it lies there, and needs none any more.
	leased bool
	laid   func()
	// pushesTo is the pool's directory when an image goes there by content.
	pushesTo string
	// left is the path of the uploaded image that the machine's root disk will have left.
	left string
	// ports are the forwards, with the automatic ones chosen.
	ports []spec.Port
	// kept is Outcome.Kept.
	kept bool
}

// pool is the part of the plan that makes the pool: it comes first.
func (p *Plan) pool() []Op {
	n := 0
	for n < len(p.Ops) && slices.Contains([]Action{ActionDefinePool, ActionBuildPool, ActionAutostartPool, ActionStartPool}, p.Ops[n].Action) {
		n++
	}
	return p.Ops[:n:n]
}

// Empty says that there is nothing to do.
func (p *Plan) Empty() bool { return len(p.Ops) == 0 }

// String is the plan with one operation on each line.
func (p *Plan) String() string {
	lines := make([]string, 0, len(p.Ops)+len(p.Pending))
	for _, o := range p.Ops {
		lines = append(lines, o.String())
	}
	for _, waiting := range p.Pending {
		lines = append(lines, "pending: "+waiting)
	}
	return strings.Join(lines, "\n")
}

func (p *Plan) has(action Action) bool {
	return slices.ContainsFunc(p.Ops, func(o Op) bool { return o.Action == action })
}

// allowed refuses a plan that loses data unasked.
func (p *Plan) allowed() error {
	if p.replace == "" {
		return nil
	}
	refused := fault.New(fault.Refused, "the root disk of %s would be replaced and what is in it lost: %s", p.Machine, p.replace)
	if p.appliable {
		return refused.WithHint("vmctl apply %[1]s brings the new system to the disk as it is; vmctl up --replace %[1]s makes the disk anew", p.Machine)
	}
	return refused.
		WithHint("vmctl plan %[1]s shows everything that would be done; vmctl up --replace %[1]s does it", p.Machine)
}

// plan is a pure function of what is wanted and what is there.
func (e *Engine) plan(w Wanted, s *snapshot, o Options) (*Plan, error) {
	if s.domain != nil {
		if err := e.mayBecome(s.domain, o.Adopt); err != nil {
			return nil, err
		}
	}
	if s.ports != nil {
		w.Machine.Ports = s.ports
	}
	if s.kept != nil {
		w.Image = *s.kept
	}
	p := &planner{e: e, w: w, s: s, o: o, plan: &Plan{
		kept: s.kept != nil, ports: w.Machine.Ports, Machine: w.Machine.Name, Host: e.Host.URI, Ops: []Op{}, Pending: []string{}, Notes: []string{},
	}}
	if s.pool.State == PoolInactive || s.domain != nil && s.pool.State != PoolActive {
		// A root disk that cannot be seen is not one that is gone, or was never made.
		p.add(poolOps(s.pool)...)
		p.plan.partial = true
		p.plan.Notes = append(p.plan.Notes, fmt.Sprintf("storage pool %s is not active: what else there is to do shows when it is", s.pool.Name))
		return p.plan, nil
	}
	if err := p.disks(); err != nil {
		return nil, err
	}
	if err := p.volumes(); err != nil {
		return nil, err
	}
	if err := p.media(); err != nil {
		return nil, err
	}
	if err := p.domain(); err != nil {
		return nil, err
	}
	return p.plan, nil
}

// planner carries the parts of one plan while it grows.
type planner struct {
	e    *Engine
	w    Wanted
	s    *snapshot
	o    Options
	plan *Plan

	// stopped says that the plan so far has stopped a running domain.
	stopped bool
	// undefined says that the plan so far has undefined the domain.
	undefined bool
	// remade says that the plan so far makes the root disk anew, or for the first time.
	remade bool
	// base is what the root disk lies on, or will.
	base Base
	// heldBack says that the guest's CPUs are held because a run was cut short before its
	// secrets were there.
	heldBack bool
	// sources are the credentials of loadFirmware.
	sources *sources
	// starting is set when the plan is carried out and has come to the start.
	starting bool
}

func (p *planner) add(ops ...Op) { p.plan.Ops = append(p.plan.Ops, ops...) }

// running says whether the guest runs at this point of the plan.
func (p *planner) running() bool {
	return p.s.domain != nil && p.s.domain.State.Active() && !p.stopped
}

// stop adds the operation that powers the guest off, once.
func (p *planner) stop(cause string) {
	if !p.running() {
		return
	}
	p.stopped = true
	if p.s.domain.Transient && !p.plan.has(ActionDefineDomain) {
		p.undefined = true // it vanishes when it stops
	}
	name, timeout := p.w.Machine.Name, p.o.StopTimeout
	p.add(op(ActionStopDomain, name, cause,
		func(ctx context.Context, e *Engine) error { _, err := e.halt(ctx, name, timeout, false); return err }, nil))
}

// image is the wanted image as the host sees it.
func (p *planner) image() Base {
	path := p.w.Image.Path
	switch {
	case p.e.inPlace(p.w.Image):
	case p.s.base != nil:
		path = p.s.base.Path
	default:
		path = strings.TrimSuffix(p.s.pool.Target, "/") + "/" + p.uploadName()
	}
	return Base{Path: path, Format: p.w.Image.Format, Size: p.w.Image.Size}
}

// disks plans the pool, the uploaded image and the root disk.
func (p *planner) disks() error {
	if p.w.Image.Path == "" {
		return ErrImageNeeded
	}
	size := p.w.Machine.Disk
	if size == 0 {
		size = p.w.Image.Size
	}
	if size < p.w.Image.Size {
		return fault.New(fault.Invalid, "disk: %s is smaller than the image, which is %s", size, p.w.Image.Size).
			WithHint("set disk to at least %s, or leave it out", p.w.Image.Size)
	}
	p.add(poolOps(p.s.pool)...)
	root := p.s.root
	p.base = p.image()
	switch {
	case root == nil:
		if p.running() && !p.o.Replace {
			// The guest still has the deleted file open: stopping it is what loses it.
			p.plan.replace = "its file is gone, and only the running guest still has it"
		}
		p.stop("its root disk is gone")
		if p.s.domain != nil && p.s.domain.ManagedSave {
			// A guest woken on an empty disk would write what it remembers of the old one.
			p.undefine("its saved memory belongs to the root disk that is gone")
		}
		p.makeRoot(size, "not there")
	case root.Backing == "" && root.Allocation > unwritten:
		// As after virsh blockpull: the image is in it, too.
		p.replaceRoot(size, "it lies on no image any more")
	case root.Backing == "":
		// Every root disk of ours lies on an image: this one was never finished.
		p.add(deleteVolume(root.Name, "never finished"))
		p.makeRoot(size, "was never finished")
	case p.imageOf() != p.imageWanted():
		p.plan.appliable = p.w.System && p.s.domain != nil
		p.replaceRoot(size, fmt.Sprintf("image %s → %s", p.imageOf(), p.imageWanted()))
	default:
		p.base.Path = root.Backing
		return p.sizeRoot(size)
	}
	return nil
}

// sizeRoot plans for a root disk that stays.
func (p *planner) sizeRoot(size spec.Size) error {
	root := p.s.root
	switch {
	case root.Capacity > size && p.w.Machine.Disk != 0:
		if p.o.Replace {
			p.replaceRoot(size, fmt.Sprintf("disk %s → %s", root.Capacity, size))
			return nil
		}
		return fault.New(fault.Refused, "the root disk of %s is %s and cannot shrink to %s", p.w.Machine.Name, root.Capacity, size).
			WithHint("set disk back to %s, or make the disk anew and lose what is in it: vmctl up --replace %s", root.Capacity, p.w.Machine.Name)
	case root.Capacity < size:
		p.growRoot(size)
	}
	return nil
}

// imageOf and imageWanted name the image whose system the root disk has, and the one it
// should: it is another than the one that it lies on where the guest was brought to it. A
// root disk without a domain is known by its backing path alone.
func (p *planner) imageOf() string {
	if d := p.s.domain; d != nil && d.Record.Base == p.s.root.Backing {
		n := len(d.Record.Applied)
		switch {
		case n == 0 || p.s.kept != nil:
			return shortID(d.Record.Image)
		case d.Record.Applied[n-1].Image == "":
			return "with another system"
		}
		return shortID(d.Record.Applied[n-1].Image)
	}
	if p.s.root.Backing == p.image().Path {
		return p.w.Image.ShortID()
	}
	if id, ok := imageAt(p.s.pool, p.s.root.Backing); ok {
		return shortID(id)
	}
	return p.s.root.Backing
}

func (p *planner) imageWanted() string { return p.w.Image.ShortID() }

// unwritten is the most that an overlay takes before a guest has written to it: qemu-img
// makes one of 196 KiB, and the first byte written adds 128 KiB.
const unwritten = 256 * spec.KiB

// written says that there may be something in the root disk. A machine that is defined
// has most likely been booted, whatever its disk takes on a file system that compresses.
func (p *planner) written() bool { return p.s.domain != nil || p.s.root.Allocation > unwritten }

func (p *planner) replaceRoot(size spec.Size, cause string) {
	written := p.written()
	if written && !p.o.Replace {
		p.plan.replace = cause
	}
	p.stop("its root disk is replaced")
	if p.s.domain != nil {
		// Saved memory and firmware variables belong to the old disk.
		p.undefine("its root disk is replaced")
	}
	if id, ok := imageAt(p.s.pool, p.s.root.Backing); ok && id != p.w.Image.ID {
		p.plan.left = p.s.root.Backing
		p.plan.Notes = append(p.plan.Notes, fmt.Sprintf("image %s is removed from the host then, unless something else uses it", shortID(id)))
	}
	remove := deleteVolume(p.s.root.Name, cause)
	if written {
		remove = remove.destructive()
	}
	p.add(remove)
	p.makeRoot(size, cause)
}

// undefine adds the operation that removes the definition with all that libvirt keeps
// beside it, once.
func (p *planner) undefine(cause string) {
	if p.undefined {
		return
	}
	p.undefined = true
	name := p.w.Machine.Name
	p.add(op(ActionUndefine, name, cause, undefining(name), nil))
}

func (p *planner) makeRoot(size spec.Size, cause string) {
	if !p.e.inPlace(p.w.Image) {
		p.plan.leased = true
		if p.s.base == nil {
			p.upload()
		} else {
			p.forgetSent(p.s.base.Name)
		}
	}
	p.base, p.remade = p.image(), true
	lay := createOverlay(RootVolume(p.w.Machine.Name), size, p.base, fmt.Sprintf("%s: %s on %s", cause, size, p.w.Image.ShortID()))
	if create := lay.run; !p.e.inPlace(p.w.Image) {
		image := path.Base(p.base.Path)
		lay.run = func(ctx context.Context, e *Engine, sent report) error {
			err := e.claim(ctx, image, lay.Resource, func(ctx context.Context, e *Engine) error { return create(ctx, e, sent) })
			if err == nil && p.plan.laid != nil {
				p.plan.laid()
			}
			return err
		}
	}
	p.add(lay)
}

// uploadName is the name of the volume that the image is uploaded to.
func (p *planner) uploadName() string {
	if p.s.resumable != nil {
		return p.s.resumable.name.String()
	}
	return BaseVolume(p.w.Image, p.e.Token)
}

// upload plans an image's way to the host. The commit marker comes last, so that an
// upload cut short is never taken for an image. How much of a large one has arrived is
// noted beside it.
func (p *planner) upload() {
	img, name := p.w.Image, p.uploadName()
	for _, cut := range p.s.unfinished {
		if cut == p.s.resumable {
			continue
		}
		for _, v := range cut.volumes() {
			p.add(deleteVolume(v.Name, "an earlier upload was cut short"))
		}
	}
	u := &upload{img: img, pool: p.s.pool.Target, volume: name, pushing: p.w.pushing, goesOn: p.s.resumable != nil}
	cause := img.Source
	if p.e.byContent(img) {
		cause += ", without what the host has of it"
		p.plan.pushesTo = u.pool
	}
	switch {
	case u.goesOn:
		cause += ", goes on where it was cut short"
	default:
		base := createVolume(name, img.Format, img.FileSize, "not on the host")
		base.undo = retracting(name)
		p.add(base)
		if img.FileSize >= resumable {
			sent := createVolume(sentVolume(name), "raw", arrivedSize, "says how much has arrived")
			sent.undo = nil // it goes with what it stands beside
			p.add(sent)
		}
	}
	p.add(Op{
		Action: ActionUploadVolume, Resource: name, Cause: cause, When: Now, total: int64(img.FileSize),
		run: func(ctx context.Context, e *Engine, sent report) error { return e.upload(ctx, u, sent) },
	})
	marker, origin := CommitVolume(name), img.Origin.Encode()
	commit := createVolume(marker, "raw", spec.Size(len(origin)), "marks the upload as whole")
	commit.undo = nil // it goes with what it marks
	p.add(commit)
	if img.Origin.Known() {
		p.add(op(ActionUploadVolume, marker, "where the image came from", func(ctx context.Context, e *Engine) error {
			return e.Host.Volumes.Upload(ctx, marker, bytes.NewReader(origin), int64(len(origin)), func(int64) {})
		}, nil))
	}
	if img.FileSize >= resumable {
		p.add(deleteVolume(sentVolume(name), "all has arrived"))
	}
}

// forgetSent removes the note beside an upload of this client's that has arrived, as a run
// leaves it that was killed just then. Another client's may be about to go.
func (p *planner) forgetSent(name string) {
	n, _ := parseBase(name)
	sent := sentVolume(name)
	if n.uploader() != p.e.Token.Client || !slices.Contains(p.s.uploads, sent) {
		return
	}
	p.add(op(ActionDeleteVolume, sent, "all has arrived", func(ctx context.Context, e *Engine) error {
		_, err := e.remove(ctx, []Volume{{Name: sent}}) // a prune elsewhere may be at it
		return err
	}, nil))
}

func (p *planner) growRoot(size spec.Size) {
	name, root := p.w.Machine.Name, p.s.root
	cause := fmt.Sprintf("disk %s → %s", root.Capacity, size)
	if p.running() {
		p.add(op(ActionResizeDisk, root.Name, cause,
			func(ctx context.Context, e *Engine) error {
				return e.Host.Domains.ResizeLiveDisk(ctx, name, root.Path, size)
			}, nil))
		return
	}
	p.add(op(ActionResizeVolume, root.Name, cause,
		func(ctx context.Context, e *Engine) error { return e.Host.Volumes.ResizeVolume(ctx, root.Name, size) }, nil))
}
