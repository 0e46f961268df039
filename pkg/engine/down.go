package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"vmctl/pkg/fault"
	"vmctl/pkg/progress"
)

// DownOptions are what a person may ask of down and stop.
type DownOptions struct {
	// Timeout is how long the guest may take before it is destroyed; 0 destroys at once.
	Timeout time.Duration
	// Force destroys at once.
	Force bool
	// Gone, when set, is called when nothing of the machine is left, before anybody else
	// can bring it up again. base is the path of the image that its root disk lay on, if that
	// is known.
	Gone func(base string)
	// Volumes deletes the machine's data volumes, too.
	Volumes bool
}

// Removal is what down found and did.
type Removal struct {
	// Existed is false when there was nothing to remove.
	Existed bool
	// Halted says how the guest came to be off.
	Halted string
	// Volumes are the names of those removed.
	Volumes []string
	// Kept are the data volumes that stay.
	Kept []DataVolumeInfo
	// Copies says that the machine was on its way here, and what went were copies.
	Copies bool

	base string
}

// Down removes a machine and all that up made for it, in the order that leaves only
// what the next down recognises when it is killed: the domain, which says whose the
// rest is, goes last.
func (e *Engine) Down(ctx context.Context, name string, o DownOptions) (*Removal, error) {
	unlock, err := e.Locker.Lock(ctx, name)
	if err != nil {
		return nil, err
	}
	defer unlock()
	var domain *Domain
	var pool Pool
	parts, part := errgroup.WithContext(ctx)
	parts.Go(func() (err error) {
		domain, err = found(e.Host.Domains.Domain(part, name))
		return err
	})
	parts.Go(func() (err error) {
		pool, err = e.refreshedPool(part)
		return err
	})
	if err := parts.Wait(); err != nil {
		return nil, err
	}
	removal := &Removal{Existed: domain != nil, Halted: HaltedAlready}
	plan := &Plan{Machine: name, Host: e.Host.URI}
	if domain != nil {
		if err := e.mayChange(domain, false); err != nil {
			return nil, err
		}
		removal.base = domain.Record.Base
		if domain.State.Active() {
			plan.Ops = append(plan.Ops, op(ActionStopDomain, name, "", func(ctx context.Context, e *Engine) error {
				var err error
				removal.Halted, err = e.halt(ctx, name, o.Timeout, o.Force)
				return err
			}, nil))
		}
	}
	if pool, err = e.downPool(ctx, name, pool, domain != nil); err != nil {
		return nil, err
	}
	if pool.State == PoolActive {
		files, err := e.filesOf(ctx, name, pool)
		if err != nil {
			return nil, err
		}
		removal.Copies = domain == nil && pool.has(ArrivingVolume(name))
		data, err := e.downVolumes(ctx, name, files, o.Volumes || removal.Copies, removal)
		if err != nil {
			return nil, err
		}
		plan.Ops = append(plan.Ops, data...)
		plan.Ops = append(plan.Ops, removal.made(name, files)...)
	}
	if domain != nil {
		addresses, err := e.releasing(ctx, domain)
		if err != nil {
			return nil, err
		}
		plan.Ops = append(plan.Ops, addresses...)
	}
	if domain != nil && !domain.Transient {
		plan.Ops = append(plan.Ops, op(ActionUndefine, name, "", undefining(name), nil))
	}
	if err := e.apply(ctx, plan); err != nil {
		return nil, err
	}
	if o.Gone != nil {
		o.Gone(removal.base)
	}
	bases, err := e.removeUnusedBases(ctx, pool, domain)
	removal.Existed = removal.Existed || len(bases) > 0
	return removal, err
}

// refreshedPool is the pool with all that is in it: the console's log is there beside libvirt.
func (e *Engine) refreshedPool(ctx context.Context) (Pool, error) {
	if err := e.Host.Pools.RefreshPool(ctx); err != nil && !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.Refused) {
		return Pool{}, err
	}
	return e.Host.Pools.Pool(ctx)
}

// filesOf are the files of a machine. Only those are read of which more has to be known
// than the name: data volumes, and what has to be wiped.
func (e *Engine) filesOf(ctx context.Context, machine string, pool Pool) ([]Volume, error) {
	var files []Volume
	var read []string
	for _, name := range pool.named(volumePrefix(machine)) {
		if strings.HasPrefix(name, volumePrefix(machine)+dataPart) || isDelivery(machine, name) {
			read = append(read, name)
		} else {
			files = append(files, Volume{Name: name})
		}
	}
	more, err := e.readVolumes(ctx, read)
	return append(files, more...), err
}

// made removes what up made for the machine, of all its files.
func (r *Removal) made(machine string, files []Volume) []Op {
	var ops []Op
	for _, v := range madeFor(machine, files) {
		r.Existed = true
		r.Volumes = append(r.Volumes, v.Name)
		if isDelivery(machine, v.Name) {
			ops = append(ops, discarding(v.Name, v.Capacity, "")...)
			continue
		}
		ops = append(ops, deleteVolume(v.Name, ""))
	}
	return ops
}

// downPool is the pool, active when there is a machine: its root disk would stay behind, and
// come back with the next up. Without one a pool that is not active is left alone: nothing
// in it can be in use.
func (e *Engine) downPool(ctx context.Context, machine string, pool Pool, needed bool) (Pool, error) {
	if !needed || pool.State == PoolActive {
		return pool, nil
	}
	if err := e.makePool(ctx, machine, pool); err != nil {
		return pool, err
	}
	return e.Host.Pools.Pool(ctx)
}

// activatePool makes the pool show what is in it: the root disk of a machine would stay
// behind, and come back with the next up.
func (e *Engine) activatePool(ctx context.Context, machine string) error {
	pool, err := e.Host.Pools.Pool(ctx)
	if err != nil {
		return err
	}
	return e.makePool(ctx, machine, pool)
}

// makePool makes of a pool that was looked at an active one.
func (e *Engine) makePool(ctx context.Context, machine string, pool Pool) error {
	return e.apply(ctx, &Plan{Machine: machine, Host: e.Host.URI, Ops: poolOps(pool)})
}

// machineVolumes are the volumes in the pool that up made for the machine. A pool that
// is not active is left alone: nothing in it can be in use.
func (e *Engine) machineVolumes(ctx context.Context, name string) ([]Volume, error) {
	pool, err := e.refreshedPool(ctx)
	if err != nil || pool.State != PoolActive {
		return nil, err
	}
	files, err := e.filesOf(ctx, name, pool)
	return madeFor(name, files), err
}

// madeFor are those of a machine's files that up made, and down removes.
func madeFor(name string, all []Volume) []Volume {
	var made, last []Volume
	own := []string{RootVolume(name), VarsVolume(name, false), VarsVolume(name, true)}
	for _, v := range all {
		// The log's rotated pieces carry a number behind its name.
		if slices.Contains(own, v.Name) || strings.HasPrefix(v.Name, LogVolume(name)) || isMedium(name, v.Name) || isDelivery(name, v.Name) {
			made = append(made, v)
		}
		if v.Name == ArrivingVolume(name) {
			last = append(last, v) // it says what the others are
		}
	}
	// The first file with secrets, without which no other is looked for, is the last of them.
	slices.SortFunc(made, func(a, b Volume) int { return strings.Compare(a.Name, b.Name) })
	return append(made, last...)
}

// removeUnusedBases removes the image that the machine's root disk lay on, when it was
// uploaded and nothing else uses it. Without a domain nobody knows which image that
// was: an up that was killed may have left any, and all that this client uploaded and
// nothing uses go.
func (e *Engine) removeUnusedBases(ctx context.Context, pool Pool, was *Domain) ([]Volume, error) {
	if pool.State != PoolActive {
		return nil, nil
	}
	if was == nil {
		return e.removeOwnBases(ctx)
	}
	if was.Record == nil {
		return nil, nil
	}
	return e.removeBase(ctx, ctx, pool, was.Record.Base)
}

// removeBase removes the uploaded image at a path, unless something uses it. It waits
// for the image's lock until lock ends.
func (e *Engine) removeBase(ctx, lock context.Context, pool Pool, path string) ([]Volume, error) {
	id, ok := imageAt(pool, path)
	if !ok {
		return nil, nil
	}
	unlock, err := e.Locker.Lock(lock, basePrefix+id)
	if err != nil {
		return nil, err
	}
	defer unlock()
	return e.clear(ctx, []string{id}, clearing{wants: func(c *baseCopy) bool { return c.volume.Path == path }})
}

// removeOwnBases removes what this client uploaded and nothing uses.
func (e *Engine) removeOwnBases(ctx context.Context) ([]Volume, error) {
	all, err := e.Host.Volumes.ListVolumes(ctx, basePrefix)
	if err != nil {
		return nil, err
	}
	own := clearing{wants: func(c *baseCopy) bool { return c.name.uploader() == e.Token.Client }}
	ids, unlock := e.lockImages(ctx, e.judge(all, nil, own, time.Time{}).images())
	defer unlock()
	if len(ids) == 0 {
		return nil, ended(ctx)
	}
	return e.clear(ctx, ids, own)
}

// lockImages takes the locks of images. One that another vmctl of this client is at work
// on is not waited for: it is not among those given back.
func (e *Engine) lockImages(ctx context.Context, ids []string) (locked []string, unlock func()) {
	once, cancel := context.WithCancel(ctx)
	cancel()
	var held []func()
	for _, id := range ids {
		if release, err := e.Locker.Lock(once, basePrefix+id); err == nil {
			locked, held = append(locked, id), append(held, release)
		}
	}
	return locked, func() {
		for _, release := range held {
			release()
		}
	}
}

// leave removes the image that an up replaced. It is only rubbish: that it stays is no error.
func (e *Engine) leave(ctx context.Context, p *Plan) {
	if p.left == "" {
		return
	}
	once, cancel := context.WithCancel(ctx)
	cancel()
	pool, err := e.Host.Pools.Pool(ctx)
	if err == nil {
		_, err = e.removeBase(ctx, once, pool, p.left)
	}
	busy := ctx.Err() == nil && fault.Is(err, fault.Interrupted) // another vmctl is at work on it
	if err != nil && !busy {
		e.noteLeft(p.Machine, "the host", err)
	}
}

// noteLeft says that an image stays which a machine does not lie on any more.
func (e *Engine) noteLeft(machine, where string, err error) {
	e.Sink.Emit(progress.Event{ID: machine + "/left", Status: progress.Note,
		Text: fmt.Sprintf("the image that %s lay on stays on %s, vmctl image prune removes it: %s", machine, where, err)})
}
