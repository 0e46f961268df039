package libvirt

import (
	"context"
	"slices"

	"golang.org/x/sync/errgroup"
	golibvirt "libvirt.org/go/libvirt"

	"vmctl/pkg/engine"
)

// DiskUsers reads the disks of all domains: three calls for each, and four for each that
// runs, many at once.
func (c *conn) DiskUsers(ctx context.Context) ([]engine.DiskUser, error) {
	return read(ctx, c, "read the disks of the domains", func(l *golibvirt.Connect) ([]engine.DiskUser, error) {
		domains, err := l.ListAllDomains(0)
		if err != nil {
			return nil, err
		}
		defer free(domains)
		found := make([][]side, len(domains))
		var parts errgroup.Group
		parts.SetLimit(underWay)
		for i := range domains {
			parts.Go(func() (err error) {
				found[i], err = sides(&domains[i])
				return ignore(err, notFound...) // one that went meanwhile has none
			})
		}
		if err := parts.Wait(); err != nil {
			return nil, err
		}
		return diskUsers(l, slices.Concat(found...)), nil
	})
}

// diskUsers says who has which disk; one that runs and is defined counts once.
func diskUsers(l *golibvirt.Connect, found []side) []engine.DiskUser {
	var all []engine.DiskUser
	seen := map[engine.DiskUser]bool{}
	for _, s := range found {
		running := s.flag == golibvirt.DOMAIN_DEVICE_MODIFY_LIVE
		for _, disk := range s.xml.Disks {
			u := engine.DiskUser{Domain: s.xml.Name, Path: disk.path(), Running: running}
			if u.Path == "" {
				u.Path = volumePath(l, disk.Source.Pool, disk.Source.Volume)
			}
			live := engine.DiskUser{Domain: u.Domain, Path: u.Path, Running: true}
			if u.Path != "" && !seen[u] && !seen[live] {
				seen[u] = true
				all = append(all, u)
			}
		}
	}
	return all
}

// volumePath is where a disk lies that is named by its pool; empty when nobody knows.
func volumePath(l *golibvirt.Connect, pool, volume string) string {
	if pool == "" {
		return ""
	}
	p, err := l.LookupStoragePoolByName(pool)
	if err != nil {
		return ""
	}
	defer func() { _ = p.Free() }()
	v, err := p.LookupStorageVolByName(volume)
	if err != nil {
		return ""
	}
	defer func() { _ = v.Free() }()
	path, err := v.GetPath()
	if err != nil {
		return ""
	}
	return path
}
