package libvirt

import (
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	golibvirt "libvirt.org/go/libvirt"

	"vmctl/pkg/ansi"
	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// volumeXML is what is read from a volume's XML.
type volumeXML struct {
	Type       string `xml:"type,attr"`
	Name       string `xml:"name"`
	Capacity   uint64 `xml:"capacity"`
	Allocation uint64 `xml:"allocation"`
	Physical   uint64 `xml:"physical"`
	Target     struct {
		Path   string `xml:"path"`
		Format struct {
			Type string `xml:"type,attr"`
		} `xml:"format"`
		// Modified is "seconds.nanoseconds", or the seconds alone.
		Modified   string `xml:"timestamps>mtime"`
		Encryption *struct {
			Format string `xml:"format,attr"`
		} `xml:"encryption"`
	} `xml:"target"`
	Backing struct {
		Path   string `xml:"path"`
		Format struct {
			Type string `xml:"type,attr"`
		} `xml:"format"`
	} `xml:"backingStore"`
}

// Volume reads one volume. Its format is what libvirt thinks: nothing may be decided
// by it, because libvirt looks at the volume's first bytes, which are the guest's.
func (c *conn) Volume(ctx context.Context, name string) (*engine.Volume, error) {
	return read(ctx, c, "read volume "+quoteName(name), func(l *golibvirt.Connect) (out *engine.Volume, err error) {
		err = c.withVolume(l, name, func(v *golibvirt.StorageVol) error {
			out, err = readVolume(v)
			return err
		})
		return out, err
	})
}

func readVolume(v *golibvirt.StorageVol) (*engine.Volume, error) {
	// Asking looks at the file again.
	text, err := v.GetXMLDesc(0)
	if err != nil {
		return nil, gone(err)
	}
	return parseVolume(text)
}

func parseVolume(text string) (*engine.Volume, error) {
	var x volumeXML
	if err := xml.Unmarshal([]byte(text), &x); err != nil {
		return nil, fault.New(fault.Other, "the host's volume XML cannot be read: %w", err)
	}
	return &engine.Volume{
		Name: x.Name, Path: x.Target.Path, Format: x.Target.Format.Type,
		Capacity: spec.Size(x.Capacity), Allocation: spec.Size(x.Allocation), Length: spec.Size(x.Physical), Backing: x.Backing.Path, BackingFormat: x.Backing.Format.Type,
		Modified: fileTime(x.Target.Modified),
		Block:    x.Type == "block", Encrypted: x.Target.Encryption != nil,
	}, nil
}

// fileTime reads a time stamp as libvirt writes it; zero when there is none.
func fileTime(text string) time.Time {
	whole, part, _ := strings.Cut(text, ".")
	seconds, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return time.Time{}
	}
	nanoseconds, _ := strconv.ParseInt(part, 10, 64)
	return time.Unix(seconds, nanoseconds)
}

// gone recognises a volume whose file was removed behind libvirt's back.
func gone(err error) error {
	if err == nil {
		return nil
	}
	if message := text(err); strings.Contains(message, "No such file or directory") {
		return because(fault.NotFound, "the volume's file is gone: "+tidy(message), err)
	}
	return err
}

// VolumeIn reads a volume of any pool.
func (c *conn) VolumeIn(ctx context.Context, pool, name string) (*engine.Volume, error) {
	return read(ctx, c, "read volume "+quoteName(pool+"/"+name), func(l *golibvirt.Connect) (*engine.Volume, error) {
		p, err := l.LookupStoragePoolByName(pool)
		if err != nil {
			return nil, err
		}
		defer func() { _ = p.Free() }()
		if active, err := p.IsActive(); err != nil || !active {
			if err == nil {
				err = fault.New(fault.Refused, "storage pool %s is not active", quoteName(pool)).
					WithHint("virsh -c %s pool-start %s", ansi.ShellWord(c.uri), pool)
			}
			return nil, err
		}
		v, err := p.LookupStorageVolByName(name)
		if absent(err) {
			// It may have appeared since libvirt last looked.
			if err = refresh(p); err == nil {
				v, err = p.LookupStorageVolByName(name)
			}
		}
		if err != nil {
			return nil, err
		}
		defer func() { _ = v.Free() }()
		out, err := readVolume(v)
		if err != nil {
			return nil, err
		}
		if kind, err := v.GetInfo(); err != nil || kind.Type != golibvirt.STORAGE_VOL_FILE && kind.Type != golibvirt.STORAGE_VOL_BLOCK {
			if err == nil {
				err = fault.New(fault.Refused, "volume %s is neither a file nor a block device of the host", quoteName(pool+"/"+name))
			}
			return nil, err
		}
		return out, nil
	})
}

func (c *conn) withVolume(l *golibvirt.Connect, name string, f func(*golibvirt.StorageVol) error) error {
	lookup := func(name string) (v *golibvirt.StorageVol, err error) {
		err = c.withPool(l, func(p *golibvirt.StoragePool) error {
			v, err = p.LookupStorageVolByName(name)
			return err
		})
		return v, err
	}
	return c.volumes.with(name, lookup, f)
}

// ListVolumes reads the volumes whose name begins with the prefix.
func (c *conn) ListVolumes(ctx context.Context, prefix string) ([]engine.Volume, error) {
	return read(ctx, c, "list the volumes of storage pool "+PoolName, func(l *golibvirt.Connect) (out []engine.Volume, err error) {
		err = c.withPool(l, func(p *golibvirt.StoragePool) error {
			if err := c.refresh(p); err != nil {
				return err
			}
			volumes, err := p.ListAllStorageVolumes(0)
			if err != nil {
				return err
			}
			defer func() {
				for i := range volumes {
					_ = volumes[i].Free()
				}
			}()
			if out, err = readVolumes(volumes, prefix); err != nil {
				return err
			}
			slices.SortFunc(out, func(a, b engine.Volume) int { return cmp.Compare(a.Name, b.Name) })
			return nil
		})
		return out, err
	})
}

// KnownVolumes lists without a refresh: libvirt keeps account of what goes through it.
func (c *conn) KnownVolumes(ctx context.Context, prefix string) ([]string, error) {
	return read(ctx, c, "list the volumes of storage pool "+PoolName, func(l *golibvirt.Connect) (names []string, err error) {
		err = c.withPool(l, func(p *golibvirt.StoragePool) error {
			names, err = c.knownVolumes(p, prefix)
			return err
		})
		return names, err
	})
}

// knownVolumes keeps the volumes, too: whoever reads one of them next need not look it up.
func (c *conn) knownVolumes(p *golibvirt.StoragePool, prefix string) (names []string, err error) {
	volumes, err := p.ListAllStorageVolumes(0)
	if err != nil {
		return nil, err
	}
	for i := range volumes {
		name, failed := volumes[i].GetName()
		if failed == nil && strings.HasPrefix(name, prefix) {
			names = append(names, name)
			failed = c.volumes.keep(name, &volumes[i])
		}
		err = cmp.Or(err, failed)
		_ = volumes[i].Free()
	}
	slices.Sort(names)
	return names, err
}

// readVolumes reads those whose name begins with the prefix, many at once.
func readVolumes(volumes []golibvirt.StorageVol, prefix string) ([]engine.Volume, error) {
	found := make([]*engine.Volume, len(volumes))
	var parts errgroup.Group
	parts.SetLimit(underWay)
	for i := range volumes {
		name, err := volumes[i].GetName()
		if err != nil {
			return nil, errors.Join(err, parts.Wait())
		}
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		parts.Go(func() (err error) {
			found[i], err = readVolume(&volumes[i])
			if absent(err) || fault.Is(err, fault.NotFound) {
				return nil // it went meanwhile
			}
			return err
		})
	}
	err := parts.Wait()
	var out []engine.Volume
	for _, v := range found {
		if v != nil {
			out = append(out, *v)
		}
	}
	return out, err
}

// refresh looks at the directory of vmctl's pool again, once for all who ask for it at about
// the same time.
func (c *conn) refresh(p *golibvirt.StoragePool) error {
	return c.refreshing.soon(func() error { return refresh(p) })
}

// refresh looks at the directory of any pool again. libvirt refuses while a volume is being made
// or filled by anybody; then what it knows has to do.
func refresh(p *golibvirt.StoragePool) error {
	err := p.Refresh(0)
	if err != nil && strings.Contains(text(err), "asynchronous jobs running") {
		return nil
	}
	return err
}

// onVolume changes one volume.
func (c *conn) onVolume(ctx context.Context, verb, name string, f func(*golibvirt.StorageVol) error) error {
	return change(ctx, c, verb+" volume "+quoteName(name), func(l *golibvirt.Connect) error {
		return c.withVolume(l, name, f)
	})
}

// ResizeVolume grows a volume; libvirt refuses to shrink one.
func (c *conn) ResizeVolume(ctx context.Context, name string, size spec.Size) error {
	return c.onVolume(ctx, "resize", name, func(v *golibvirt.StorageVol) error { return v.Resize(uint64(size), 0) })
}

// DeleteVolume removes the volume's file.
func (c *conn) DeleteVolume(ctx context.Context, name string) error {
	return c.onVolume(ctx, "delete", name, func(v *golibvirt.StorageVol) error {
		return v.Delete(golibvirt.STORAGE_VOL_DELETE_NORMAL)
	})
}
