package enginetest

import (
	"context"
	"path"
	"slices"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// AttachDisk implements engine.Domains.
func (h *Host) AttachDisk(ctx context.Context, name string, disk engine.Disk) error {
	return change(ctx, h, "AttachDisk", on(name, disk.Serial), func() error {
		d, err := h.find(name)
		if err != nil {
			return err
		}
		if d.state.Active() && !has(d.live, disk.Serial) {
			if err := h.openable(d, disk.Path); err != nil {
				return err
			}
			d.live.attach(disk)
		}
		if d.config != d.live && !has(d.config, disk.Serial) {
			d.config.attach(disk)
		}
		return nil
	})
}

// LendDisk implements engine.Domains.
func (h *Host) LendDisk(ctx context.Context, name string, disk engine.Disk) error {
	return change(ctx, h, "LendDisk", on(name, disk.Serial), func() error {
		d, err := h.running(name)
		if err != nil {
			return err
		}
		if has(d.live, disk.Serial) {
			return nil
		}
		if err := h.openable(d, disk.Path); err != nil {
			return err
		}
		if d.live == d.config {
			d.live = d.config.copy()
		}
		d.live.attach(disk)
		h.take(d)
		return nil
	})
}

// take is a guest taking what it was handed, and giving the disk back.
func (h *Host) take(d *domain) {
	if d.state != engine.StateRunning || !d.guest.TakesSecrets || !has(d.live, engine.SerialDelivery) {
		return
	}
	h.taken[d.name] = slices.Clone(h.volumes[engine.DeliveryVolume(d.name)].content)
	d.live.detach(engine.SerialDelivery)
	h.tell(d.name, engine.EventDisk)
}

// Taken is what the guest has taken last.
func (h *Host) Taken(name string) []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.taken[name]
}

// DetachDisk implements engine.Domains.
func (h *Host) DetachDisk(ctx context.Context, name, serial string) error {
	return change(ctx, h, "DetachDisk", on(name, serial), func() error {
		d, err := h.find(name)
		if err != nil {
			return err
		}
		live := d.state.Active() && has(d.live, serial)
		if !live && !has(d.config, serial) {
			return fault.New(fault.NotFound, "domain %s has no disk %s", name, serial)
		}
		if live {
			if d.guest.KeepsDisks {
				return fault.New(fault.Timeout, "the guest does not let go of disk %s", serial)
			}
			d.live.detach(serial)
		}
		d.config.detach(serial)
		return nil
	})
}

func has(d *definition, serial string) bool {
	return slices.ContainsFunc(d.attached, func(disk engine.Disk) bool { return disk.Serial == serial })
}

func (d *definition) attach(disk engine.Disk) {
	d.attached = append(d.attached, disk)
	d.disks = append(d.disks, disk.Path)
}

func (d *definition) detach(serial string) {
	for i, disk := range d.attached {
		if disk.Serial == serial {
			d.attached = slices.Delete(d.attached, i, i+1)
			d.disks = slices.DeleteFunc(d.disks, func(file string) bool { return file == disk.Path })
			return
		}
	}
}

// openable says what QEMU would say of a disk that a domain is to have.
func (h *Host) openable(d *domain, disk string) error {
	if path.Dir(disk) == h.pool.Target && h.volumes[path.Base(disk)] == nil {
		return fault.New(fault.NotFound, "cannot start domain %s: its disk %s is not on the host", d.name, disk)
	}
	for _, other := range h.domains {
		if other != d && other.state.Active() && slices.Contains(other.live.disks, disk) {
			return fault.New(fault.Refused, "cannot start domain %s: another process has its disk image open", d.name)
		}
	}
	return nil
}

// DiskUsers implements engine.Domains.
func (h *Host) DiskUsers(ctx context.Context) ([]engine.DiskUser, error) {
	return read(ctx, h, "DiskUsers", nil, func() ([]engine.DiskUser, error) {
		var out []engine.DiskUser
		for _, name := range sortedKeys(h.domains) {
			d := h.domains[name]
			if d.state.Active() {
				for _, disk := range d.live.disks {
					out = append(out, engine.DiskUser{Domain: name, Path: disk, Running: true})
				}
			}
			for _, disk := range d.config.disks {
				if user := (engine.DiskUser{Domain: name, Path: disk}); !slices.Contains(out, engine.DiskUser{Domain: name, Path: disk, Running: true}) {
					out = append(out, user)
				}
			}
		}
		return out, nil
	})
}

// PlantVolumeIn puts a volume into another pool than vmctl's.
func (h *Host) PlantVolumeIn(pool string, v engine.Volume) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.pools[pool] == nil {
		h.pools[pool] = map[string]engine.Volume{}
	}
	h.pools[pool][v.Name] = v
}

// VolumeIn implements engine.Volumes.
func (h *Host) VolumeIn(ctx context.Context, pool, name string) (*engine.Volume, error) {
	return read(ctx, h, "VolumeIn", on(pool, name), func() (*engine.Volume, error) {
		v, ok := h.pools[pool][name]
		if !ok {
			return nil, fault.New(fault.NotFound, "cannot find volume %s/%s", pool, name)
		}
		return &v, nil
	})
}

// CreateEncrypted implements engine.Volumes.
func (h *Host) CreateEncrypted(ctx context.Context, name, format string, size spec.Size, secret string) error {
	return change(ctx, h, "CreateEncrypted", on(name, format, size), func() error {
		s, err := h.findSecret(secret)
		if err != nil {
			return err
		}
		if len(s.value) == 0 {
			return fault.New(fault.Refused, "cannot create volume %s: secret %s has no value", name, secret)
		}
		return h.create(engine.Volume{Name: name, Format: format, Capacity: size, Encrypted: true})
	})
}
