package enginetest

import (
	"context"
	"encoding/json"
	"maps"
	"path"
	"slices"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// portable is a definition on its way.
type portable struct {
	Name, UUID string
	Record     *engine.Record
	Memory     spec.Size
	CPUs       int
	Disks      []string
	Attached   []engine.Disk
	Network    string
	Ports      []spec.Port
	Log        string
	Graphics   spec.Graphics
}

func (d *domain) portable(def *definition) portable {
	c := def.copy()
	return portable{
		d.name, d.uuid, c.record, c.memory, c.cpus, c.disks, c.attached, c.network, c.ports, c.log, c.graphics,
	}
}

// here is the definition as it is on another host.
func (p portable) here(r engine.Relocation) *definition {
	moved := func(file string) string {
		if to, ok := r.Paths[file]; ok {
			return to
		}
		return file
	}
	d := (&definition{
		record: p.Record, memory: p.Memory, cpus: p.CPUs, disks: p.Disks, attached: p.Attached,
		network: p.Network, ports: p.Ports, log: moved(p.Log), graphics: p.Graphics,
	}).copy()
	for i := range d.disks {
		d.disks[i] = moved(d.disks[i])
	}
	for i := range d.attached {
		d.attached[i].Path = moved(d.attached[i].Path)
	}
	if d.record != nil {
		d.record.Base, d.record.Moving = moved(d.record.Base), nil
		d.record.Volumes = slices.Clone(d.record.Volumes)
		for i := range d.record.Volumes {
			d.record.Volumes[i].Path = moved(d.record.Volumes[i].Path)
		}
	}
	return d
}

// Portable implements engine.Moves.
func (h *Host) Portable(ctx context.Context, name string) (engine.Portable, error) {
	return read(ctx, h, "Portable", on(name), func() (engine.Portable, error) {
		d, err := h.find(name)
		if err != nil {
			return engine.Portable{}, err
		}
		text, err := json.Marshal(d.portable(d.config))
		return engine.Portable{Text: string(text), KVM: h.options.Capabilities.KVM, HostCPU: true, Snapshots: h.snapshots}, err
	})
}

// PlantSnapshots gives all domains a number of snapshots.
func (h *Host) PlantSnapshots(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.snapshots = n
}

// DefineMoved implements engine.Moves.
func (h *Host) DefineMoved(ctx context.Context, name string, p engine.Portable, r engine.Relocation) error {
	return change(ctx, h, "DefineMoved", on(name), func() error {
		var def portable
		if err := json.Unmarshal([]byte(p.Text), &def); err != nil {
			return err
		}
		if other := h.domains[name]; other != nil && other.uuid != def.UUID {
			return fault.New(fault.Refused, "cannot define domain %s: it exists already with UUID %s", name, other.uuid)
		}
		h.domains[name] = &domain{name: name, uuid: def.UUID, state: engine.StateShutOff, config: def.here(r)}
		h.tell(name, engine.EventOther)
		return nil
	})
}

// NoteMove implements engine.Moves.
func (h *Host) NoteMove(ctx context.Context, name string, m *engine.Moving) error {
	return change(ctx, h, "NoteMove", on(name, m), func() error {
		d, err := h.find(name)
		if err == nil && d.config.record != nil {
			d.config.record.Moving = m
		}
		return err
	})
}

// SetMoving says that libvirt is at a live move of which the client is gone.
func (h *Host) SetMoving(is bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.moving = is
}

// MovingLive implements engine.Moves.
func (h *Host) MovingLive(ctx context.Context, name string) (bool, error) {
	return read(ctx, h, "MovingLive", on(name), func() (bool, error) {
		_, err := h.find(name)
		return h.moving, err
	})
}

// CPU implements engine.Moves: all hosts of one name have the same.
func (h *Host) CPU(ctx context.Context) (string, error) {
	return read(ctx, h, "CPU", nil, func() (string, error) { return h.options.CPU, nil })
}

// RunsCPU implements engine.Moves.
func (h *Host) RunsCPU(ctx context.Context, cpu string) (bool, error) {
	return read(ctx, h, "RunsCPU", on(cpu), func() (bool, error) { return cpu == h.options.CPU, nil })
}

// BreakMove makes the next live move end as when the client loses both hosts: before the
// other one has all of the guest, or when it runs there already. Here the guest is held
// then; what it is called there tells which.
func (h *Host) BreakMove(arrived bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.breakMove = &arrived
}

// MoveLive implements engine.Moves.
func (h *Host) MoveLive(ctx context.Context, name string, to engine.Moves, p engine.Passage, report func(engine.MoveProgress)) error {
	there := to.(*Host)
	broken := h.broken()
	return change(ctx, h, "MoveLive", on(name), func() error {
		d, err := h.running(name)
		if err != nil {
			return err
		}
		if d.state != engine.StateRunning {
			return fault.New(fault.Refused, "domain %s is not running", name)
		}
		contents := map[string][]byte{}
		for _, disk := range d.live.disks {
			if v := h.volumes[path.Base(disk)]; v != nil && p.Paths[disk] != "" {
				contents[p.Paths[disk]] = slices.Clone(v.content)
			}
		}
		if broken != nil && !*broken {
			d.state = engine.StatePaused
			return h.unreachable()
		}
		if err := there.receive(d, d.portable(d.config).here(p.Relocation), d.portable(d.live).here(p.Relocation), contents); err != nil {
			return err
		}
		report(engine.MoveProgress{Done: 1, Total: 2})
		report(engine.MoveProgress{Done: 2, Total: 2})
		if broken != nil {
			d.state = engine.StatePaused
			return h.unreachable()
		}
		h.stop(d, engine.EventStopped)
		return nil
	})
}

func (h *Host) broken() *bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	b := h.breakMove
	h.breakMove = nil
	return b
}

// receive is a guest arriving: its disks have been made, as large as they were.
func (h *Host) receive(d *domain, config, live *definition, contents map[string][]byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.domains[d.name] != nil {
		return fault.New(fault.Refused, "domain %s exists already on %s", d.name, h.options.URI)
	}
	arriving := &domain{name: d.name, uuid: d.uuid, config: config}
	if err := h.startable(arriving); err != nil {
		return err
	}
	for file, content := range contents {
		v := h.volumes[path.Base(file)]
		if v == nil {
			return fault.New(fault.NotFound, "the disk %s is not there", file)
		}
		if backing, ok := lying(content); ok && backing != "" {
			content = slices.Concat(newQcow2(v.Backing), content[qcow2Cluster:])
		}
		v.content = content
	}
	arriving.live, arriving.memory, arriving.cpus = live, d.memory, d.cpus
	arriving.guest, arriving.state = d.guest, engine.StateRunning
	h.domains[d.name] = arriving
	h.tell(d.name, engine.EventStarted)
	return nil
}

// Content is what is in a volume's file.
func (h *Host) Content(name string) []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	if v := h.volumes[name]; v != nil {
		return slices.Clone(v.content)
	}
	return nil
}

// Write puts bytes behind what is in a volume's file, as its guest would.
func (h *Host) Write(name, text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	v := h.volumes[name]
	v.content = append(v.content, text...)
}

// SecretValues are the values of all secrets.
func (h *Host) SecretValues() map[string]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	values := map[string]string{}
	for id, s := range maps.All(h.secrets) {
		values[id] = string(s.value)
	}
	return values
}

// SecretValue implements engine.Secrets.
func (h *Host) SecretValue(ctx context.Context, uuid string) ([]byte, error) {
	return read(ctx, h, "SecretValue", on(uuid), func() ([]byte, error) {
		s, err := h.findSecret(uuid)
		if err != nil {
			return nil, err
		}
		return slices.Clone(s.value), nil
	})
}
