package engine

import (
	"bytes"
	"context"
	"slices"
	"strconv"
	"strings"

	"vmctl/pkg/spec"
)

// FirmwareFile is a file of the host that the guest finds in fw_cfg.
type FirmwareFile struct {
	// Name is its name there, Path where it is on the host.
	Name, Path string
}

// byFirmware says that the secrets travel in files that QEMU reads while it starts. Then
// the guest has nothing to give back, and what is in the files can go as soon as the start
// has returned. Empty files stay until the guest stops: libvirt looks for them then, and
// gives no file back to its owner when it misses one (libvirt 9.0).
func (d *Delivery) byFirmware() bool { return d != nil && len(d.Credentials) > 0 }

const firmwareBegins = "fw_cfg."

// firmwareVolume is the name of the file of one credential.
func firmwareVolume(machine string, n int) string {
	return volumePrefix(machine) + firmwareBegins + strconv.Itoa(n) + ".img"
}

func isFirmware(machine, volume string) bool {
	return strings.HasPrefix(volume, volumePrefix(machine)+firmwareBegins)
}

// observeFirmware looks for the files of a machine that has or had any.
func (e *Engine) observeFirmware(ctx context.Context, w Wanted, s *snapshot) (err error) {
	if s.pool.State == PoolActive && (w.Delivery.byFirmware() || carriesByFirmware(s.domain)) {
		s.delivering.files, err = e.allKnown(ctx, s.pool, volumePrefix(w.Machine.Name)+firmwareBegins)
	}
	return err
}

// carriesByFirmware says that a machine is defined, or was started, with files.
func carriesByFirmware(d *Domain) bool {
	by := func(r *Record) bool { return r != nil && valueOf(r.Settings, keyCarrier) != none }
	return d != nil && (by(d.Record) || d.Live != nil && by(d.Live.Record))
}

// loadFirmware plans the files, each with one credential in it.
func (p *planner) loadFirmware() {
	machine, sources := p.w.Machine.Name, &sources{read: p.w.Delivery.Read}
	p.sources = sources
	for n, name := range p.w.Delivery.Credentials {
		volume := firmwareVolume(machine, n)
		create := op(ActionCreateVolume, volume, name+" for the guest, which QEMU reads when it starts", func(ctx context.Context, e *Engine) error {
			content, err := sources.content(ctx, n)
			if err != nil {
				return err
			}
			return e.Host.Volumes.CreateVolume(ctx, volume, "raw", spec.Size(len(content)))
		}, func(ctx context.Context, e *Engine) error {
			size := sources.size(n)
			sources.forget()
			return e.discard(ctx, volume, size)
		})
		p.add(create, op(ActionUploadVolume, volume, name, func(ctx context.Context, e *Engine) error {
			content, err := sources.content(ctx, n)
			if err != nil {
				return err
			}
			defer clear(content)
			return e.Host.Volumes.Upload(ctx, volume, bytes.NewReader(content), int64(len(content)), nil)
		}, nil))
	}
}

// emptyFirmware plans what becomes of the files when QEMU has read them.
func (p *planner) emptyFirmware() {
	if !p.w.Delivery.byFirmware() {
		return
	}
	for n := len(p.w.Delivery.Credentials) - 1; n >= 0; n-- {
		volume, sources := firmwareVolume(p.w.Machine.Name, n), p.sources
		p.add(op(ActionWipeVolume, volume, haveRead, func(ctx context.Context, e *Engine) error {
			return e.wipe(ctx, volume, sources.size(n))
		}, nil), deleteVolume(volume, ""), emptied(volume))
	}
}

const haveRead = "QEMU has read it"

// emptied is a file without anything in it, as libvirt looks for when the guest stops.
func emptied(volume string) Op {
	empty := createVolume(volume, "raw", 0, "empty, until the guest stops")
	empty.undo = nil // the one before it has one
	return empty
}

// dropFirmware plans the end of files that an earlier run or guest left. Those of a guest
// that runs are emptied.
func (p *planner) dropFirmware() {
	for i, v := range slices.Backward(p.s.delivering.files) {
		switch {
		case !p.running():
			p.add(discarding(v.Name, v.Capacity, "of an earlier boot")...)
		case v.Capacity > 0:
			p.add(discarding(v.Name, v.Capacity, cutShort)...)
			p.add(emptied(v.Name))
			p.s.delivering.files[i].Capacity = 0
		}
	}
	if !p.running() {
		p.s.delivering.files = nil
	}
}

// firmwareFiles are the files as a start gets them.
func (p *planner) firmwareFiles(target string) []FirmwareFile {
	var all []FirmwareFile
	for n, name := range p.w.Delivery.Credentials {
		all = append(all, FirmwareFile{Name: spec.FirmwarePrefix + name, Path: target + "/" + firmwareVolume(p.w.Machine.Name, n)})
	}
	return all
}

// sources reads the credentials once, when the first is needed.
type sources struct {
	read func(ctx context.Context) ([][]byte, error)
	all  [][]byte
}

func (s *sources) content(ctx context.Context, n int) (content []byte, err error) {
	if s.all == nil {
		if s.all, err = s.read(ctx); err != nil {
			return nil, err
		}
	}
	return s.all[n], nil
}

// size is what was read of one; 0 before.
func (s *sources) size(n int) spec.Size {
	if s.all == nil {
		return 0
	}
	return spec.Size(len(s.all[n]))
}

func (s *sources) forget() { forget(s.all) }
