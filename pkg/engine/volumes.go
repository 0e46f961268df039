package engine

import (
	"context"
	"path"
	"slices"
	"strings"

	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// DataVolumeInfo is one data volume as the host has it.
type DataVolumeInfo struct {
	Machine, Name string
	// Volume is the file.
	Volume Volume
	// Unfinished says that its import was cut short.
	Unfinished bool
	// Users are the domains that have it.
	Users []DiskUser
}

// String is the volume as it is named on the command line.
func (v DataVolumeInfo) String() string { return v.Machine + "/" + v.Name }

// DataVolumes lists the data volumes of one machine, or of all with an empty name, with
// who uses them.
func (e *Engine) DataVolumes(ctx context.Context, machine string) ([]DataVolumeInfo, error) {
	pool, err := e.Host.Pools.Pool(ctx)
	if err != nil || pool.State != PoolActive {
		return nil, err
	}
	prefix := ""
	if machine != "" {
		prefix = volumePrefix(machine) + dataPart
	}
	files, err := e.Host.Volumes.ListVolumes(ctx, prefix)
	if err != nil {
		return nil, err
	}
	return e.dataAmong(ctx, files)
}

// dataAmong are the data volumes among files, with who uses them.
func (e *Engine) dataAmong(ctx context.Context, files []Volume) ([]DataVolumeInfo, error) {
	var all []DataVolumeInfo
	named := func(name string) bool {
		return slices.ContainsFunc(files, func(v Volume) bool { return v.Name == name })
	}
	for _, f := range files {
		file, marker := strings.CutSuffix(f.Name, importSuffix)
		if m, name, ok := parseDataVolume(file); ok && (!marker || !named(file)) {
			// A marker alone is an import that had not come to making its volume.
			all = append(all, DataVolumeInfo{Machine: m, Name: name, Volume: f, Unfinished: marker || named(f.Name+importSuffix)})
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	users, err := e.Host.Domains.DiskUsers(ctx)
	if err != nil {
		return nil, err
	}
	for i := range all {
		for _, u := range users {
			if u.Path == all[i].Volume.Path {
				all[i].Users = append(all[i].Users, u)
			}
		}
	}
	return all, nil
}

// DataVolume is one data volume; NotFound when it is not there.
func (e *Engine) DataVolume(ctx context.Context, machine, name string) (*DataVolumeInfo, error) {
	all, err := e.DataVolumes(ctx, machine)
	if err != nil {
		return nil, err
	}
	for i := range all {
		if all[i].Name == name {
			return &all[i], nil
		}
	}
	return nil, fault.New(fault.NotFound, "%s has no volume %s/%s", e.Host.URI, machine, name).
		WithHint("vmctl volume list shows the volumes")
}

// CreateDataVolume makes a volume before its machine needs it.
func (e *Engine) CreateDataVolume(ctx context.Context, machine, name string, size spec.Size, encrypt bool) error {
	return e.onVolume(ctx, machine, func() error {
		if err := e.activatePool(ctx, machine); err != nil {
			return err
		}
		switch there, err := e.DataVolume(ctx, machine, name); {
		case err == nil:
			return fault.New(fault.Refused, "volume %s exists already: it is %s", there, there.Volume.Capacity).
				WithHint("vmctl volume resize %s SIZE makes it larger", there)
		case !fault.Is(err, fault.NotFound):
			return err
		}
		ops := makeVolumeOps(machine, name, DataVolume(machine, name), size, encrypt, true)
		return e.apply(ctx, &Plan{Machine: machine, Host: e.Host.URI, Ops: ops})
	})
}

// ResizeDataVolume grows a volume, also below a running guest. It says whether there was
// anything to do.
func (e *Engine) ResizeDataVolume(ctx context.Context, machine, name string, size spec.Size) (grown bool, err error) {
	err = e.onVolume(ctx, machine, func() error {
		v, err := e.DataVolume(ctx, machine, name)
		switch {
		case err != nil:
			return err
		case v.Unfinished:
			return unfinished(machine, name)
		case v.Volume.Capacity > size:
			return fault.New(fault.Refused, "volume %s is %s and cannot shrink to %s", v, v.Volume.Capacity, size).
				WithHint("make a smaller volume of another name and copy what is in this one")
		case v.Volume.Capacity == size:
			return nil
		}
		grown = true
		file, cause := v.Volume, v.Volume.Capacity.String()+" → "+size.String()
		run := op(ActionResizeVolume, file.Name, cause,
			func(ctx context.Context, e *Engine) error { return e.Host.Volumes.ResizeVolume(ctx, file.Name, size) }, nil)
		for _, u := range v.Users {
			if u.Running {
				run = op(ActionResizeDisk, file.Name, cause,
					func(ctx context.Context, e *Engine) error {
						return e.Host.Domains.ResizeLiveDisk(ctx, u.Domain, file.Path, size)
					}, nil)
			}
		}
		return e.apply(ctx, &Plan{Machine: machine, Host: e.Host.URI, Ops: []Op{run}})
	})
	return grown, err
}

// RemoveDataVolume deletes a volume that no domain has, with its key.
func (e *Engine) RemoveDataVolume(ctx context.Context, machine, name string) error {
	return e.onVolume(ctx, machine, func() error {
		v, err := e.DataVolume(ctx, machine, name)
		if err != nil {
			return err
		}
		if err := v.Unused("deleted"); err != nil {
			return err
		}
		ops, err := e.deleteDataOps(ctx, machine, []DataVolumeInfo{*v})
		if err != nil {
			return err
		}
		return e.apply(ctx, &Plan{Machine: machine, Host: e.Host.URI, Ops: ops})
	})
}

// Unused refuses what must not be done to a volume that a domain has.
func (v DataVolumeInfo) Unused(done string) error {
	for _, u := range v.Users {
		if u.Running {
			return fault.New(fault.Refused, "volume %s cannot be %s: domain %s runs with it", v, done, u.Domain).
				WithHint("take it out of the definition and run vmctl up %s, or vmctl down %s", u.Domain, u.Domain)
		}
	}
	if len(v.Users) > 0 {
		return fault.New(fault.Refused, "volume %s cannot be %s: it is a disk of domain %s", v, done, v.Users[0].Domain).
			WithHint("take it out of the definition and run vmctl up %s, or vmctl down %s", v.Users[0].Domain, v.Users[0].Domain)
	}
	return nil
}

// onVolume holds the machine's lock: up and down look at its volumes, too.
func (e *Engine) onVolume(ctx context.Context, machine string, do func() error) error {
	return e.withVolume(ctx, machine, false, do)
}

// withVolume is onVolume, also for what only reads.
func (e *Engine) withVolume(ctx context.Context, machine string, reads bool, do func() error) error {
	unlock, err := e.Locker.Lock(ctx, machine)
	if err != nil {
		return err
	}
	defer unlock()
	d, err := found(e.Host.Domains.Domain(ctx, machine))
	if err != nil {
		return err
	}
	if d != nil && (!reads || !newer(d)) {
		if err := e.owned(d, false); err != nil {
			return err
		}
	}
	if err := e.unmoved(d); err != nil {
		return err
	}
	return do()
}

// deleteDataOps are the operations that delete volumes. The key goes first: a key whose
// volume is gone would never be found again, and a volume whose key is gone still is.
func (e *Engine) deleteDataOps(ctx context.Context, machine string, volumes []DataVolumeInfo) ([]Op, error) {
	var ops []Op
	var secrets []Secret
	for _, v := range volumes {
		if v.Volume.Encrypted && secrets == nil {
			var err error
			if secrets, err = e.Host.Secrets.ListSecrets(ctx, volumePrefix(machine)+dataPart); err != nil {
				return nil, err
			}
		}
		for _, s := range secrets {
			if s.UUID == secretID(machine, v.Name) {
				ops = append(ops, deleteSecret(s, "the key of volume "+v.Name).destructive())
			}
		}
		ops = append(ops, deleteVolume(v.Volume.Name, "").destructive())
		if v.Unfinished && v.Volume.Name != importMarker(machine, v.Name) {
			ops = append(ops, deleteVolume(importMarker(machine, v.Name), ""))
		}
	}
	return ops, nil
}

func deleteSecret(s Secret, cause string) Op {
	return op(ActionDeleteSecret, s.UUID, cause,
		func(ctx context.Context, e *Engine) error { return e.Host.Secrets.DeleteSecret(ctx, s.UUID) }, nil)
}

// downVolumes plans what down does to a machine's data volumes: nothing, unless asked to.
// Keys without a volume are what an up that was killed has left.
func (e *Engine) downVolumes(ctx context.Context, machine string, files []Volume, remove bool, removal *Removal) ([]Op, error) {
	data, err := e.dataAmong(ctx, files)
	if err != nil {
		return nil, err
	}
	var ops []Op
	if !remove {
		removal.Kept = data
	} else {
		for _, v := range data {
			v.Users = slices.DeleteFunc(slices.Clone(v.Users), func(u DiskUser) bool { return u.Domain == machine })
			if err := v.Unused("deleted"); err != nil {
				return nil, err
			}
			removal.Existed = true
			removal.Volumes = append(removal.Volumes, v.Volume.Name)
		}
		if ops, err = e.deleteDataOps(ctx, machine, data); err != nil {
			return nil, err
		}
	}
	orphans, err := e.orphanSecrets(ctx, machine, data)
	for _, s := range orphans {
		removal.Existed = true
		ops = append(ops, deleteSecret(s, "it has no volume"))
	}
	return ops, err
}

// orphanSecrets are the keys of volumes that were never made.
func (e *Engine) orphanSecrets(ctx context.Context, machine string, data []DataVolumeInfo) ([]Secret, error) {
	secrets, err := e.Host.Secrets.ListSecrets(ctx, volumePrefix(machine)+dataPart)
	if err != nil {
		return nil, err
	}
	var orphans []Secret
	for _, s := range secrets {
		m, volume, ok := parseDataVolume(path.Base(s.Volume))
		there := slices.ContainsFunc(data, func(v DataVolumeInfo) bool { return v.Name == volume })
		if ok && m == machine && s.UUID == secretID(m, volume) && !there {
			orphans = append(orphans, s)
		}
	}
	return orphans, nil
}

// SplitVolume reads MACHINE/VOLUME.
func SplitVolume(word string) (machine, volume string, err error) {
	machine, volume, ok := strings.Cut(word, "/")
	if !ok {
		return "", "", fault.New(fault.Usage, "%q does not say whose volume it is", word).
			WithHint("write it as MACHINE/VOLUME, such as example/data")
	}
	if err := spec.CheckName(machine); err != nil {
		return "", "", err
	}
	return machine, volume, spec.CheckVolumeName(volume)
}
