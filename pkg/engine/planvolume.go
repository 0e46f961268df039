package engine

import (
	"context"
	"fmt"

	"vmctl/pkg/ansi"
	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// volumes plans the data volumes: each is made once, and after that it only grows.
func (p *planner) volumes() error {
	for i, disk := range wantedDisks(p.w, p.s) {
		v := p.w.Machine.Volumes[i]
		if err := p.free(v, disk); err != nil {
			return err
		}
		var err error
		switch {
		case v.Own():
			err = p.ownVolume(v)
		case v.Source != "":
			err = p.sourceVolume(v)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// free refuses a disk that another domain has, and one that is not what it was.
func (p *planner) free(v spec.Volume, disk Disk) error {
	if d := p.s.domain; d != nil && v.Own() {
		for _, r := range d.Record.Volumes {
			has := diskOf(d.Attached, v.Name)
			if d.Live != nil {
				if live := diskOf(d.Live.Attached, v.Name); live != nil {
					has = live
				}
			}
			// As after an external snapshot: it would go on without what was written there.
			if r.Name == v.Name && r.Path == disk.Path && has != nil && has.Path != disk.Path && !p.undefined {
				return fault.New(fault.Refused, "volume %s of %s is %s and no longer the one that vmctl made, as after virsh snapshot-create --disk-only", v.Name, d.Name, has.Path).
					WithHint("merge it into the volume while the guest runs: virsh -c %s blockcommit %s DISK --shallow --active --pivot (domblklist shows the DISK)", ansi.ShellWord(p.e.Host.URI), d.Name)
			}
		}
	}
	for _, u := range p.s.volumes.users {
		if u.Path == disk.Path && u.Domain != p.w.Machine.Name {
			return inUse(v.Name, u)
		}
	}
	return nil
}

func inUse(volume string, u DiskUser) error {
	state := "is defined with it"
	if u.Running {
		state = "runs with it"
	}
	return fault.New(fault.Refused, "volume %s cannot be used: %s is a disk of domain %s, which %s", volume, u.Path, u.Domain, state).
		WithHint("two machines that write to one disk destroy what is on it: take it out of %s first", u.Domain)
}

func (p *planner) ownVolume(v spec.Volume) error {
	machine := p.w.Machine.Name
	there, file := p.s.volumes.own[v.Name], DataVolume(machine, v.Name)
	switch {
	case p.s.volumes.unfinished[v.Name]:
		return unfinished(machine, v.Name)
	case there == nil:
		p.makeVolume(v, file)
		return nil
	case there.Format != dataFormat || there.Backing != "":
		return fault.New(fault.Refused, "%s is not a volume that vmctl made: it is %s", there.Path, formatOf(there)).
			WithHint("move the file away, or give the volume another name in the definition")
	case there.Encrypted != v.Encrypt:
		is, say := "is not encrypted", "encrypt: false"
		if there.Encrypted {
			is, say = "is encrypted", "encrypt: true"
		}
		return fault.New(fault.Refused, "volume %s of %s %s, and that cannot be changed", v.Name, machine, is).
			WithHint("write %s; or make a volume of another name and copy what is in this one", say)
	case v.Encrypt && !p.s.volumes.secrets[v.Name]:
		return fault.New(fault.Refused, "the key of the encrypted volume %s of %s is not on the host any more", v.Name, machine).
			WithHint("restore the libvirt secret %s (virsh secret-define, secret-set-value); without it nobody can read the volume", secretID(machine, v.Name))
	case there.Capacity > v.Size:
		return fault.New(fault.Refused, "volume %s of %s is %s and cannot shrink to %s", v.Name, machine, there.Capacity, v.Size).
			WithHint("set its size to %s; or make a smaller volume of another name and copy what is in this one", there.Capacity)
	case there.Capacity < v.Size:
		p.growVolume(v, there)
	}
	return nil
}

func unfinished(machine, volume string) error {
	return fault.New(fault.Refused, "volume %s of %s was being imported, and that was cut short", volume, machine).
		WithHint("vmctl volume import %[1]s/%[2]s FILE begins anew; vmctl volume rm %[1]s/%[2]s gives it up", machine, volume)
}

func formatOf(v *Volume) string {
	if v.Backing != "" {
		return v.Format + " and lies on " + v.Backing
	}
	return v.Format
}

// makeVolume adds the making of a volume. It is taken back only with the definition that
// lists it: one that stays would name a disk that is gone.
func (p *planner) makeVolume(v spec.Volume, file string) {
	p.add(makeVolumeOps(p.w.Machine.Name, v.Name, file, v.Size, v.Encrypt, p.s.domain == nil || p.undefined)...)
}

func makeVolumeOps(machine, volume, file string, size spec.Size, encrypt, undo bool) []Op {
	var ops []Op
	if encrypt {
		id := secretID(machine, volume)
		secret := Secret{UUID: id, Volume: file, Description: fmt.Sprintf("key of volume %s of vmctl machine %s", volume, machine)}
		define := op(ActionDefineSecret, id, "key of volume "+volume,
			func(ctx context.Context, e *Engine) error { return e.Host.Secrets.DefineSecret(ctx, secret) },
			func(ctx context.Context, e *Engine) error {
				// A call whose answer was lost may have made the volume: it keeps its key.
				if there, err := found(e.Host.Volumes.Volume(ctx, file)); err != nil || there != nil {
					return err
				}
				return e.Host.Secrets.DeleteSecret(ctx, id)
			})
		set := op(ActionSetSecret, id, "a new key: nothing is encrypted with it yet",
			func(ctx context.Context, e *Engine) error { return e.Host.Secrets.SetSecret(ctx, id, newKey()) }, nil)
		make := op(ActionCreateVolume, file, "not there: "+size.String()+" encrypted",
			func(ctx context.Context, e *Engine) error {
				return e.Host.Volumes.CreateEncrypted(ctx, file, dataFormat, size, id)
			}, deleting(file))
		ops = []Op{define, set, make}
	} else {
		ops = []Op{createVolume(file, dataFormat, size, "not there: "+size.String())}
	}
	if !undo {
		for i := range ops {
			ops[i].undo = nil
		}
	}
	return ops
}

func (p *planner) growVolume(v spec.Volume, there *Volume) {
	name, file, path := p.w.Machine.Name, there.Name, there.Path
	cause := fmt.Sprintf("volume %s %s → %s", v.Name, there.Capacity, v.Size)
	if p.running() && p.s.domain.Live != nil && diskOf(p.s.domain.Live.Attached, v.Name) != nil {
		p.add(op(ActionResizeDisk, file, cause,
			func(ctx context.Context, e *Engine) error {
				return e.Host.Domains.ResizeLiveDisk(ctx, name, path, v.Size)
			}, nil))
		return
	}
	p.add(op(ActionResizeVolume, file, cause,
		func(ctx context.Context, e *Engine) error { return e.Host.Volumes.ResizeVolume(ctx, file, v.Size) }, nil))
}

func (p *planner) sourceVolume(v spec.Volume) error {
	there := p.s.volumes.sources[v.Name]
	switch {
	case there == nil:
		return fault.New(fault.NotFound, "%s has no volume %s, which volume %s of %s is to be", p.e.Host.URI, v.Source, v.Name, p.w.Machine.Name).
			WithHint("virsh -c %s pool-list --all, and vol-list of a pool, show what there is", ansi.ShellWord(p.e.Host.URI))
	case !there.Block && there.Format != string(v.Disk):
		return fault.New(fault.Refused, "%s is %s, and volume %s of %s says %s", v.Source, there.Format, v.Name, p.w.Machine.Name, v.Disk).
			WithHint("write disk-format: %s if that is what it is; what a guest wrote into a raw disk can look like another format", there.Format)
	case there.Backing != "":
		return fault.New(fault.Refused, "%s lies on another image, %s: volume %s has to be whole by itself", v.Source, there.Backing, v.Name).
			WithHint("flatten it first: virsh vol-clone, or qemu-img convert")
	}
	return nil
}

// decideMounts tells the guest where its volumes belong.
func (p *planner) decideMounts(d *Definition) error {
	for _, v := range d.Machine.Volumes {
		if v.Mount != "" {
			d.Mounts = append(d.Mounts, v.Fstab())
		}
	}
	return nil
}

// detachVolumes plans what the running guest has to let go of.
func (p *planner) detachVolumes() {
	d := p.s.domain
	if d.Live == nil {
		return
	}
	wanted := wantedDisks(p.w, p.s)
	for _, has := range ours(d, d.Live.Attached) {
		want := diskOf(wanted, has.Serial)
		switch {
		case want == nil:
			p.detachVolume(has, "not in the definition any more; the volume itself stays")
		case want.Path != has.Path:
			p.detachVolume(has, "it is to be "+want.Path)
		}
	}
}

func (p *planner) detachVolume(disk Disk, cause string) {
	name := p.w.Machine.Name
	before := p.o.BeforeDetach
	p.add(op(ActionDetachDisk, disk.Serial, cause,
		func(ctx context.Context, e *Engine) error {
			if before != nil {
				if err := before(ctx, disk.Serial); err != nil {
					return err
				}
			}
			return e.Host.Domains.DetachDisk(ctx, name, disk.Serial)
		},
		func(ctx context.Context, e *Engine) error { return e.Host.Domains.AttachDisk(ctx, name, disk) }))
}

// attachVolumes plans what the running guest gets.
func (p *planner) attachVolumes() {
	name, d := p.w.Machine.Name, p.s.domain
	if d.Live == nil {
		return
	}
	for i, disk := range wantedDisks(p.w, p.s) {
		if has := diskOf(d.Live.Attached, disk.Serial); has != nil && has.Path == disk.Path {
			continue
		}
		p.add(op(ActionAttachDisk, disk.Serial, describe(p.w.Machine.Volumes[i]),
			func(ctx context.Context, e *Engine) error { return e.Host.Domains.AttachDisk(ctx, name, disk) }, nil))
	}
}
