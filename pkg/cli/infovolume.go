package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"vmctl/pkg/engine"
	"vmctl/pkg/spec"
)

// infoVolume is a data volume of a machine. Sizes are in bytes.
type infoVolume struct {
	Name string `json:"name"`
	// Size and Used are known of volumes in vmctl's pool.
	Size  spec.Size `json:"size,omitempty"`
	Used  spec.Size `json:"used,omitempty"`
	Mount string    `json:"mount,omitempty"`
	// Fstab is the line of fstab(5) that mounts it.
	Fstab string `json:"fstab,omitempty"`
	// Device is the disk in the guest, Path on the host.
	Device string `json:"device"`
	Path   string `json:"path,omitempty"`
	// Attached says that the machine has it; on a running one, that the guest has it now.
	Attached bool `json:"attached"`

	// detached says that the machine is there and has not got it.
	detached bool
}

// guestDevice is where a guest finds a disk by its serial.
func guestDevice(serial string) string { return spec.Volume{Name: serial}.Device() }

// infoVolumes are the volumes of a machine as the host has it, and those that it was
// detached from and that stay.
func (c *call) infoVolumes(ctx context.Context, host *engine.Host, d *engine.Domain) []infoVolume {
	e := &engine.Engine{Host: host}
	kept, _ := e.DataVolumes(ctx, d.Name)
	attached := d.Attached
	if d.Live != nil {
		attached = d.Live.Attached
	}
	has := func(serial, file string) bool {
		return slices.ContainsFunc(attached, func(disk engine.Disk) bool { return disk.Serial == serial && disk.Path == file })
	}
	out := []infoVolume{}
	for _, r := range d.Record.Volumes {
		out = append(out, infoVolume{Name: r.Name, Mount: r.Mount, Device: guestDevice(r.Name), Path: r.Path, Attached: has(r.Name, r.Path)})
		if r.Mount != "" {
			readOnly := slices.ContainsFunc(attached, func(disk engine.Disk) bool { return disk.Serial == r.Name && disk.ReadOnly })
			out[len(out)-1].Fstab = spec.Volume{Name: r.Name, Mount: r.Mount, Format: r.Format, ReadOnly: readOnly}.Fstab()
		}
	}
	for _, k := range kept {
		i := slices.IndexFunc(out, func(v infoVolume) bool { return v.Path == k.Volume.Path })
		if i < 0 {
			out = append(out, infoVolume{Name: k.Name, Device: guestDevice(k.Name), Path: k.Volume.Path, Attached: has(k.Name, k.Volume.Path)})
			i = len(out) - 1
		}
		out[i].Size, out[i].Used = k.Volume.Capacity, k.Volume.Allocation
	}
	for i := range out {
		out[i].detached = !out[i].Attached
	}
	return out
}

func infoDeclaredVolumes(m *spec.Machine) []infoVolume {
	out := []infoVolume{}
	for _, v := range m.Volumes {
		file := v.Path
		if v.Source != "" {
			file = v.Source
		}
		out = append(out, infoVolume{Name: v.Name, Size: v.Size, Mount: v.Mount, Device: guestDevice(v.Name), Path: file})
		if v.Mount != "" {
			out[len(out)-1].Fstab = v.Fstab()
		}
	}
	return out
}

func (v infoVolume) text() string {
	words := []string{v.Name}
	if v.Size > 0 {
		words = append(words, v.Size.String())
	}
	if v.Used > 0 {
		words = append(words, fmt.Sprintf("(%s used on the host)", v.Used))
	}
	if v.Size == 0 && v.Path != "" {
		words = append(words, v.Path)
	}
	words = append(words, v.Device)
	if v.Mount != "" {
		words = append(words, "at "+v.Mount)
	}
	if v.detached {
		words = append(words, "not attached")
	}
	return strings.Join(words, " ")
}
