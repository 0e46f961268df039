package libvirt

import (
	"context"

	golibvirt "libvirt.org/go/libvirt"

	"vmctl/pkg/engine"
)

// DiskUsers reads the disks of all domains, two calls for each: it is asked only when a
// disk is to change hands.
func (c *conn) DiskUsers(ctx context.Context) ([]engine.DiskUser, error) {
	return read(ctx, c, "read the disks of the domains", func(l *golibvirt.Connect) ([]engine.DiskUser, error) {
		domains, err := l.ListAllDomains(0)
		if err != nil {
			return nil, err
		}
		defer free(domains)
		var all []engine.DiskUser
		seen := map[engine.DiskUser]bool{}
		for i := range domains {
			both, err := sides(&domains[i])
			if absent(err) {
				continue // it went meanwhile
			}
			if err != nil {
				return nil, err
			}
			for _, s := range both {
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
		}
		return all, nil
	})
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
