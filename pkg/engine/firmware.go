package engine

import (
	"bytes"
	"context"

	"vmctl/pkg/spec"
)

// FirmwareFile is a file of the host that the guest finds in fw_cfg.
type FirmwareFile struct {
	// Name is its name there, Path where it is on the host.
	Name, Path string
}

// byFirmware says that the secrets travel in files that QEMU reads while it starts. Then
// the guest has nothing to give back, and they can go as soon as the start has returned.
func (d *Delivery) byFirmware() bool { return d != nil && len(d.Credentials) > 0 }

// loadFirmware plans the files, each with one credential in it.
func (p *planner) loadFirmware() {
	machine, sources := p.w.Machine.Name, &sources{read: p.w.Delivery.Read}
	p.sources = sources
	for n, name := range p.w.Delivery.Credentials {
		volume := deliveryVolume(machine, n)
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

// dropFirmware plans the end of the files.
func (p *planner) dropFirmware() {
	if !p.w.Delivery.byFirmware() {
		return
	}
	for n := len(p.w.Delivery.Credentials) - 1; n >= 0; n-- {
		volume, sources := deliveryVolume(p.w.Machine.Name, n), p.sources
		p.add(
			op(ActionWipeVolume, volume, "QEMU has read it", func(ctx context.Context, e *Engine) error {
				return e.wipe(ctx, volume, sources.size(n))
			}, nil),
			deleteVolume(volume, ""),
		)
	}
}

// firmwareFiles are the files as a start gets them.
func (p *planner) firmwareFiles(target string) []FirmwareFile {
	var all []FirmwareFile
	for n, name := range p.w.Delivery.Credentials {
		all = append(all, FirmwareFile{Name: spec.FirmwarePrefix + name, Path: target + "/" + deliveryVolume(p.w.Machine.Name, n)})
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
