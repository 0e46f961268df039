package engine

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"vmctl/pkg/fault"
)

// clearing says which uploads may be removed, of those that nothing uses.
type clearing struct {
	// wants picks whole uploads.
	wants func(*baseCopy) bool
	// strangers lets what other clients left behind long ago go.
	strangers bool
	// users are those who use a path on the host beyond the volumes that lie on it.
	users map[string][]string
	// holding says that the client's own lease is in use by the caller.
	holding bool
}

// verdict is what a clearing comes to.
type verdict struct {
	// rubbish is what can be no more than in the way; doomed are whole uploads.
	rubbish []Volume
	doomed  []*baseCopy
}

// volumes are all that would go.
func (v verdict) volumes() []Volume {
	all := slices.Clone(v.rubbish)
	for _, c := range v.doomed {
		all = append(all, c.volumes()...)
	}
	return all
}

// images are the IDs of the images that it is about.
func (v verdict) images() []string {
	var ids []string
	for _, r := range v.rubbish {
		n, _ := parseBase(r.Name)
		ids = append(ids, n.id)
	}
	for _, c := range v.doomed {
		ids = append(ids, c.name.id)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// usersOf are those who use a volume: machines by name, other volumes by theirs.
func usersOf(base *Volume, all []Volume, also map[string][]string) []string {
	if base == nil {
		return nil
	}
	users := slices.Clone(also[base.Path])
	for _, v := range all {
		if v.Backing == base.Path {
			users = append(users, ownerOf(v.Name))
		}
	}
	slices.Sort(users)
	return slices.Compact(users)
}

// ownerOf is the machine whose volume it is, or the volume itself.
func ownerOf(volume string) string {
	name, _, _ := strings.Cut(volume, ".")
	if strings.HasPrefix(volume, volumePrefix(name)) {
		return name
	}
	return volume
}

// judge says what may go of the images ids, nil for all. It is a pure function of what
// is in the pool and of the host's time, which may be zero: then nothing is old.
func (e *Engine) judge(all []Volume, ids []string, c clearing, now time.Time) verdict {
	j := judge{clearing: c, client: e.Token.Client, all: all, now: now}
	for _, b := range readBases(all) {
		if ids != nil && !slices.Contains(ids, b.id) {
			continue
		}
		var leased []string
		for _, l := range b.leases {
			switch {
			case l.client != j.client && !j.old(l.volume):
				leased = append(leased, l.client)
			case l.client != j.client || !c.holding:
				j.rubbish = append(j.rubbish, l.volume)
			}
		}
		for _, upload := range b.copies {
			j.upload(upload, leased)
		}
	}
	return j.verdict
}

// judge is a verdict in the making.
type judge struct {
	clearing
	verdict
	client string
	all    []Volume
	now    time.Time
}

// old says that nothing was done to volumes of another client for long.
func (j *judge) old(volumes ...Volume) bool {
	return j.strangers && !j.now.IsZero() && !slices.ContainsFunc(volumes, func(v Volume) bool {
		return v.Modified.IsZero() || j.now.Sub(v.Modified) < staleAfter
	})
}

// upload judges one upload of an image, on which other clients have leases. A client with
// a lease may be at work again on an upload of its own that was cut short long ago.
func (j *judge) upload(c *baseCopy, leased []string) {
	used := len(usersOf(c.volume, j.all, j.users)) > 0
	mine := c.name.uploader() == j.client && !c.beingRemoved(j.client) || c.doomedBy(j.client)
	switch {
	case used:
	case !c.whole() && (mine || j.old(c.volumes()...) && !slices.Contains(leased, c.name.uploader())):
		j.rubbish = append(j.rubbish, c.volumes()...)
		return
	case c.whole() && len(leased) == 0 && j.wants(c):
		j.doomed = append(j.doomed, c)
		return
	}
	if c.whole() && c.sent != nil && (mine || j.old(*c.sent)) {
		j.rubbish = append(j.rubbish, *c.sent)
	}
	for _, d := range c.dooms {
		if d.client == j.client || j.old(d.volume) {
			j.rubbish = append(j.rubbish, d.volume)
		}
	}
}

// clear removes what may go of images whose locks the caller has. It gives what it
// removed, also with an error.
func (e *Engine) clear(ctx context.Context, ids []string, c clearing) ([]Volume, error) {
	all, err := e.Host.Volumes.ListVolumes(ctx, "")
	if err != nil {
		return nil, err
	}
	now, err := e.timeFor(ctx, all, ids, c)
	if err != nil {
		return nil, err
	}
	first := e.judge(all, ids, c, now)
	removed, err := e.remove(ctx, first.rubbish)
	if err != nil || len(first.doomed) == 0 {
		return removed, err
	}
	defer func() { e.pardon(ctx, first.doomed) }()
	var dooming errgroup.Group
	dooming.SetLimit(clearedAtOnce)
	for _, upload := range first.doomed {
		dooming.Go(func() error { return e.doom(ctx, upload) })
	}
	if err := dooming.Wait(); err != nil {
		return removed, err
	}
	if all, err = e.Host.Volumes.ListVolumes(ctx, ""); err != nil {
		return removed, err
	}
	var mu sync.Mutex
	parts, part := errgroup.WithContext(ctx)
	parts.SetLimit(clearedAtOnce)
	for _, upload := range e.judge(all, ids, c, now).doomed {
		parts.Go(func() error {
			mu.Lock()
			i := slices.IndexFunc(first.doomed, func(d *baseCopy) bool { return d.name == upload.name })
			if i < 0 || part.Err() != nil {
				mu.Unlock()
				return part.Err() // became unused meanwhile, and is not doomed
			}
			// From here on it is to go, whatever happens: its doom stays until the end.
			first.doomed = slices.Delete(first.doomed, i, i+1)
			mu.Unlock()
			gone, err := e.remove(ctx, upload.volumes())
			mu.Lock()
			defer mu.Unlock()
			removed = append(removed, gone...)
			return err
		})
	}
	err = parts.Wait()
	slices.SortFunc(removed, func(a, b Volume) int { return strings.Compare(a.Name, b.Name) })
	return removed, err
}

// clearedAtOnce is how many images are worked on at once: a host that is far away takes
// the time of a round trip for each call.
const clearedAtOnce = 16

// timeFor is the host's time where it is needed: to say that what others left is old.
func (e *Engine) timeFor(ctx context.Context, all []Volume, ids []string, c clearing) (time.Time, error) {
	if !c.strangers {
		return time.Time{}, nil
	}
	if slices.Equal(e.judge(all, ids, c, someDay()).rubbish, e.judge(all, ids, c, time.Time{}).rubbish) {
		return time.Time{}, nil
	}
	return e.hostTime(ctx)
}

// someDay is a time at which everything is old.
func someDay() time.Time { return time.Unix(1<<40, 0) }

// doom tells other clients that an upload is about to be removed.
func (e *Engine) doom(ctx context.Context, c *baseCopy) error {
	if c.doomedBy(e.Token.Client) {
		return nil // in a run of ours that was killed
	}
	return e.Host.Volumes.CreateVolume(ctx, e.doomName(c), "raw", 0)
}

func (e *Engine) doomName(c *baseCopy) string {
	n := c.name
	n.role, n.client = doomSuffix, e.Token.Client
	return n.String()
}

// pardon takes back the dooms of uploads that stay, also when ctx has ended.
func (e *Engine) pardon(ctx context.Context, stay []*baseCopy) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
	defer cancel()
	for _, c := range stay {
		// One that is left makes others upload the image again, and prune removes it.
		_ = e.Host.Volumes.DeleteVolume(ctx, e.doomName(c))
	}
}

// remove deletes volumes, which may be gone.
func (e *Engine) remove(ctx context.Context, volumes []Volume) ([]Volume, error) {
	var removed []Volume
	for _, v := range volumes {
		if err := e.Host.Volumes.DeleteVolume(ctx, v.Name); err != nil && !fault.Is(err, fault.NotFound) {
			return removed, err
		}
		removed = append(removed, v)
	}
	return removed, nil
}

// retracting takes back an upload of this run, unless another client has begun to use it.
func retracting(upload string) step {
	return func(ctx context.Context, e *Engine) error {
		n, _ := parseBase(upload)
		_, err := e.clear(ctx, []string{n.id}, clearing{
			wants: func(c *baseCopy) bool { return c.name.String() == upload }, holding: true,
		})
		return err
	}
}
