package engine

import (
	"cmp"
	"context"
	"path"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// ImageState says what can be done with an image that lies on a host.
type ImageState string

// The states. Their words are shown to people and stand in JSON: they are stable.
const (
	// ImageUsed is one that machines or other volumes lie on.
	ImageUsed ImageState = "in use"
	// ImageUnused can be removed.
	ImageUnused ImageState = "unused"
	// ImageBusy is one that another vmctl is at work on, or was a short time ago.
	ImageBusy ImageState = "busy"
	// ImageUnfinished is what is left of an upload that was cut short.
	ImageUnfinished ImageState = "unfinished"
)

// HostImage is an image on a host: uploaded, or used where it is.
type HostImage struct {
	// ID is what the image is; Name the volume's, empty for one that is used in place.
	ID, Name string
	// Path on the host.
	Path, Format string
	// Capacity is the virtual size, Allocation what it takes on the host's disk; both are
	// zero for one that is used in place.
	Capacity, Allocation spec.Size
	State                ImageState
	// Uploaded is when the last byte came, by the host's clock.
	Uploaded time.Time
	Origin   Origin
	// UsedBy are machines by name, and other domains and volumes by theirs, in quotes.
	UsedBy []string
}

// readers is how many markers are read at once: libvirt serves five requests of one
// connection together.
const readers = 4

// Images are the images on the host: those uploaded, and those that machines use in place.
func (e *Engine) Images(ctx context.Context) ([]HostImage, error) {
	domains, users, err := e.imageUsers(ctx)
	if err != nil {
		return nil, err
	}
	pool, err := e.Host.Pools.Pool(ctx)
	if err != nil {
		return nil, err
	}
	var images []HostImage
	if pool.State == PoolActive {
		if images, err = e.uploadedImages(ctx, users); err != nil {
			return nil, err
		}
	}
	for _, d := range domains {
		if d.Record == nil || d.Record.Base == "" {
			continue
		}
		if _, uploaded := imageAt(pool, d.Record.Base); uploaded {
			continue
		}
		i := slices.IndexFunc(images, func(img HostImage) bool { return img.Name == "" && img.Path == d.Record.Base })
		if i < 0 {
			images = append(images, HostImage{
				ID: d.Record.Image, Path: d.Record.Base, State: ImageUsed,
				Origin: Origin{Source: d.Record.Source},
			})
			i = len(images) - 1
		}
		images[i].UsedBy = append(images[i].UsedBy, d.Name)
	}
	slices.SortStableFunc(images, func(a, b HostImage) int { return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Path, b.Path)) })
	return images, nil
}

func (e *Engine) uploadedImages(ctx context.Context, users map[string][]string) ([]HostImage, error) {
	all, err := e.Host.Volumes.ListVolumes(ctx, "")
	if err != nil {
		return nil, err
	}
	// To look, the client's clock will do: nothing is made on the host for it.
	may := e.judge(all, nil, pruning(users), time.Now())
	var images []HostImage
	var parts errgroup.Group
	parts.SetLimit(readers)
	for _, b := range readBases(all) {
		for _, upload := range b.copies {
			if upload.volume == nil {
				continue // only markers: prune removes them, nobody has to know
			}
			v := upload.volume
			img := HostImage{
				ID: b.id, Name: v.Name, Path: v.Path, Format: upload.name.format, Capacity: v.Capacity,
				Allocation: v.Allocation, Uploaded: v.Modified, UsedBy: usersOf(v, all, users),
			}
			switch {
			case len(img.UsedBy) > 0:
				img.State = ImageUsed
			case !upload.whole() && slices.ContainsFunc(may.rubbish, func(r Volume) bool { return r.Name == v.Name }):
				img.State = ImageUnfinished
			case slices.ContainsFunc(may.doomed, func(d *baseCopy) bool { return d.name == upload.name }):
				img.State = ImageUnused
			default:
				img.State = ImageBusy
			}
			images = append(images, img)
		}
	}
	for i := range images {
		parts.Go(func() error {
			images[i].Origin = e.originOf(ctx, CommitVolume(images[i].Name))
			return nil
		})
	}
	return images, errOr(parts.Wait(), ctx)
}

func errOr(err error, ctx context.Context) error {
	if err != nil {
		return err
	}
	return ended(ctx)
}

// imageUsers reads the domains, and which paths they use: a machine its image, and a
// domain that vmctl did not make all its disks.
func (e *Engine) imageUsers(ctx context.Context) ([]DomainSummary, map[string][]string, error) {
	domains, err := e.Host.Domains.ListDomains(ctx, WithRecords)
	if err != nil {
		return nil, nil, err
	}
	users := map[string][]string{}
	add := func(at, user string) { users[path.Clean(at)] = append(users[path.Clean(at)], user) }
	foreign := map[string]bool{}
	for _, d := range domains {
		if d.Record == nil {
			foreign[d.Name] = true
		} else if d.Record.Base != "" {
			add(d.Record.Base, d.Name)
		}
	}
	if len(foreign) == 0 {
		return domains, users, nil
	}
	disks, err := e.Host.Domains.DiskUsers(ctx)
	for _, disk := range disks {
		if foreign[disk.Domain] {
			add(disk.Path, disk.Domain)
		}
	}
	return domains, users, err
}

// pruning lets all go that nothing uses.
func pruning(users map[string][]string) clearing {
	return clearing{wants: func(*baseCopy) bool { return true }, strangers: true, users: users}
}

// Pruned is a volume that prune removed, or would.
type Pruned struct {
	Name, Image string
	// Why is what it was: an image that nothing uses, or left behind.
	Why  string
	Size spec.Size
}

// Prune removes the uploaded images that nothing uses, and what killed uploads left:
// its own client's at once, another's when it is older than an hour by the host's clock.
// dry only says what would go.
func (e *Engine) Prune(ctx context.Context, dry bool) ([]Pruned, error) {
	pool, err := e.Host.Pools.Pool(ctx)
	if err != nil || pool.State != PoolActive {
		return nil, err
	}
	_, users, err := e.imageUsers(ctx)
	if err != nil {
		return nil, err
	}
	all, err := e.Host.Volumes.ListVolumes(ctx, "")
	if err != nil {
		return nil, err
	}
	c := pruning(users)
	ids, unlock := e.lockImages(ctx, e.judge(all, nil, c, someDay()).images())
	defer unlock()
	if err := ctx.Err(); err != nil {
		return nil, fault.New(fault.Interrupted, "interrupted")
	}
	if len(ids) == 0 {
		return nil, nil
	}
	if dry { // to look, the client's clock will do
		return prunedOf(e.judge(all, ids, c, time.Now()).volumes()), nil
	}
	removed, err := e.clear(ctx, ids, c)
	return prunedOf(removed), err
}

// prunedOf tells of images as wholes: their markers go with them.
func prunedOf(volumes []Volume) []Pruned {
	var out []Pruned
	for _, v := range volumes {
		n, ok := parseBase(v.Name)
		if !ok || n.role != "" {
			continue
		}
		why := "left behind by an upload that was cut short"
		if slices.ContainsFunc(volumes, func(o Volume) bool { return o.Name == CommitVolume(v.Name) }) {
			why = "nothing uses it"
		}
		out = append(out, Pruned{Name: v.Name, Image: n.id, Why: why, Size: v.Allocation})
	}
	return out
}
