package engine

import (
	"context"
	"slices"
	"strings"
	"time"

	"vmctl/pkg/fault"
)

// DownOptions are what a person may ask of down and stop.
type DownOptions struct {
	// Timeout is how long the guest may take before it is destroyed; 0 destroys at once.
	Timeout time.Duration
	// Force destroys at once.
	Force bool
}

// Removal is what down found and did.
type Removal struct {
	// Existed is false when there was nothing to remove.
	Existed bool
	// Halted says how the guest came to be off.
	Halted string
	// Volumes are the names of those removed.
	Volumes []string
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
	domain, err := found(e.Host.Domains.Domain(ctx, name))
	if err != nil {
		return nil, err
	}
	removal := &Removal{Existed: domain != nil, Halted: HaltedAlready}
	plan := &Plan{Machine: name, Host: e.Host.URI}
	if domain != nil {
		if err := e.owned(domain, false); err != nil {
			return nil, err
		}
		if domain.State.Active() {
			plan.Ops = append(plan.Ops, op(ActionStopDomain, name, "", func(ctx context.Context, e *Engine) error {
				var err error
				removal.Halted, err = e.halt(ctx, name, o.Timeout, o.Force)
				return err
			}, nil))
		}
	}
	if domain != nil {
		if err := e.activatePool(ctx, name); err != nil {
			return nil, err
		}
	}
	volumes, err := e.machineVolumes(ctx, name)
	if err != nil {
		return nil, err
	}
	for _, v := range volumes {
		removal.Existed = true
		removal.Volumes = append(removal.Volumes, v.Name)
		plan.Ops = append(plan.Ops, deleteVolume(v.Name, ""))
	}
	if domain != nil && !domain.Transient {
		plan.Ops = append(plan.Ops, op(ActionUndefine, name, "", undefining(name), nil))
	}
	if err := e.apply(ctx, plan); err != nil {
		return nil, err
	}
	bases, err := e.removeUnusedBases(ctx, domain)
	removal.Existed = removal.Existed || len(bases) > 0
	return removal, err
}

// activatePool makes the pool show what is in it: the root disk of a machine would stay
// behind, and come back with the next up.
func (e *Engine) activatePool(ctx context.Context, machine string) error {
	pool, err := e.Host.Pools.Pool(ctx)
	if err != nil {
		return err
	}
	return e.apply(ctx, &Plan{Machine: machine, Host: e.Host.URI, Ops: poolOps(pool)})
}

// machineVolumes are the volumes in the pool that up made for the machine. A pool that
// is not active is left alone: nothing in it can be in use.
func (e *Engine) machineVolumes(ctx context.Context, name string) ([]Volume, error) {
	pool, err := e.Host.Pools.Pool(ctx)
	if err != nil || pool.State != PoolActive {
		return nil, err
	}
	all, err := e.Host.Volumes.ListVolumes(ctx, volumePrefix(name))
	if err != nil {
		return nil, err
	}
	var made []Volume
	own := []string{RootVolume(name), VarsVolume(name, false), VarsVolume(name, true)}
	for _, v := range all {
		// The log's rotated pieces carry a number behind its name.
		if slices.Contains(own, v.Name) || strings.HasPrefix(v.Name, LogVolume(name)) {
			made = append(made, v)
		}
	}
	return made, nil
}

// removeUnusedBases removes the image that the machine's root disk lay on, when it was
// uploaded and nothing else lies on it. Without a domain nobody knows which image that
// was: an up that was killed may have left any, and all that nothing lies on go.
func (e *Engine) removeUnusedBases(ctx context.Context, was *Domain) ([]string, error) {
	if was != nil {
		if was.Record == nil || was.Record.Image == "" || !strings.Contains(was.Record.Base, "/"+basePrefix+was.Record.Image) {
			return nil, nil
		}
		return e.removeUnusedBase(ctx, ctx, was.Record.Image)
	}
	pool, err := e.Host.Pools.Pool(ctx)
	if err != nil || pool.State != PoolActive {
		return nil, err
	}
	all, err := e.Host.Volumes.ListVolumes(ctx, basePrefix)
	if err != nil {
		return nil, err
	}
	// An image that another vmctl is at work on is not waited for.
	once, cancel := context.WithCancel(ctx)
	cancel()
	var removed []string
	for _, image := range imagesOf(all) {
		names, err := e.removeUnusedBase(ctx, once, image)
		if err != nil && !fault.Is(err, fault.Interrupted) {
			return removed, err
		}
		removed = append(removed, names...)
	}
	return removed, ctx.Err()
}

// imagesOf are the IDs of the uploaded images among volumes.
func imagesOf(volumes []Volume) []string {
	var ids []string
	for _, v := range volumes {
		name, ok := strings.CutPrefix(v.Name, basePrefix)
		id, _, _ := strings.Cut(name, ".")
		if ok && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// removeUnusedBase removes an uploaded image unless something lies on it. It waits for
// the image's lock until lock ends.
func (e *Engine) removeUnusedBase(ctx, lock context.Context, image string) ([]string, error) {
	unlock, err := e.Locker.Lock(lock, basePrefix+image)
	if err != nil {
		return nil, err
	}
	defer unlock()
	all, err := e.Host.Volumes.ListVolumes(ctx, "")
	if err != nil {
		return nil, err
	}
	var unused []Volume
	for _, v := range all {
		if strings.HasPrefix(v.Name, basePrefix+image+".") {
			unused = append(unused, v)
		}
	}
	for _, v := range all {
		if slices.ContainsFunc(unused, func(base Volume) bool { return v.Backing == base.Path }) {
			return nil, nil
		}
	}
	var removed []string
	for _, v := range slices.Backward(unused) {
		// The marker sorts behind its volume and goes first.
		if err := e.Host.Volumes.DeleteVolume(ctx, v.Name); err != nil && !fault.Is(err, fault.NotFound) {
			return removed, err
		}
		removed = append(removed, v.Name)
	}
	return removed, nil
}
