package enginetest

import (
	"context"
	"fmt"
	"path"
	"slices"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// StartDomain implements engine.Domains.
func (h *Host) StartDomain(ctx context.Context, name string, paused bool) error {
	args := on(name)
	if paused {
		args = on(name, "paused")
	}
	return change(ctx, h, "StartDomain", args, func() error { return h.start(name, paused, nil) })
}

// StartDomainWith implements engine.Domains. The guest finds the files as long as it runs.
func (h *Host) StartDomainWith(ctx context.Context, name string, paused bool, files []engine.FirmwareFile) error {
	args := on(name)
	for _, f := range files {
		args = append(args, " ", f.Name)
	}
	return change(ctx, h, "StartDomainWith", args, func() error {
		var content []byte
		for _, f := range files {
			v := h.volumes[path.Base(f.Path)]
			if v == nil {
				return fault.New(fault.NotFound, "cannot start domain %s: there is no %s", name, f.Path)
			}
			content = append(content, v.content...)
		}
		err := h.start(name, paused, files)
		if err == nil {
			h.taken[name] = content
		}
		return err
	})
}

func (h *Host) start(name string, paused bool, files []engine.FirmwareFile) error {
	d, err := h.find(name)
	if err != nil {
		return err
	}
	if d.state.Active() {
		return fault.New(fault.Refused, "cannot start domain %s: it is running already", name)
	}
	if err := h.startable(d); err != nil {
		return err
	}
	d.live, d.memory, d.cpus = d.config.copy(), d.config.memory, d.config.cpus
	d.guest, d.state = h.guests[name], engine.StatePaused
	if files == nil {
		d.managedSave = false
	}
	h.newLog(d)
	h.tell(name, engine.EventStarted)
	if !paused {
		h.boot(d)
	}
	return nil
}

// startable says what QEMU would say.
func (h *Host) startable(d *domain) error {
	if n := d.config.network; n != "" && n != spec.NetworkNone && n != spec.NetworkUser {
		active, ok := h.networks[n]
		if !ok {
			return fault.New(fault.NotFound, "cannot start domain %s: there is no network %s", d.name, n)
		}
		if !active {
			return fault.New(fault.Refused, "cannot start domain %s: network %s is not active", d.name, n)
		}
	}
	for _, disk := range d.config.disks {
		if err := h.openable(d, disk); err != nil {
			return err
		}
	}
	for _, other := range h.domains {
		if other == d || !other.state.Active() {
			continue
		}
		for _, p := range other.live.ports {
			for _, q := range d.config.ports {
				if p.Address == q.Address && p.Host == q.Host && p.Protocol == q.Protocol {
					return &fault.Error{
						Kind: fault.Refused, Cause: &engine.PortTakenError{Port: q.Host},
						Msg: fmt.Sprintf("cannot start domain %s: port %s:%d of the host is already in use", d.name, q.Address, q.Host),
					}
				}
			}
		}
	}
	return nil
}

// boot lets the guest run.
func (h *Host) boot(d *domain) {
	d.state = engine.StateRunning
	h.take(d)
	if d.guest.Prints != "" {
		h.print(d, d.guest.Prints)
	}
	if d.guest.Agent {
		h.tell(d.name, engine.EventAgent)
	}
}

// ResumeDomain implements engine.Domains.
func (h *Host) ResumeDomain(ctx context.Context, name string) error {
	return change(ctx, h, "ResumeDomain", on(name), func() error {
		d, err := h.running(name)
		if err != nil {
			return err
		}
		if d.state == engine.StatePaused {
			h.boot(d)
		}
		return nil
	})
}

// ShutdownDomain implements engine.Domains. A guest whose CPUs are held does not obey.
func (h *Host) ShutdownDomain(ctx context.Context, name string, mode engine.ShutdownMode) error {
	return change(ctx, h, "ShutdownDomain", on(name, string(mode)), func() error {
		d, err := h.running(name)
		if err != nil {
			return err
		}
		if mode == engine.ShutdownAgent && (!d.guest.Agent || d.state != engine.StateRunning) {
			return fault.New(fault.Refused, "cannot shut down domain %s: the guest agent does not answer", name)
		}
		if !d.guest.IgnoresShutdown && d.state == engine.StateRunning {
			h.stop(d, engine.EventStopped)
		}
		return nil
	})
}

// DestroyDomain implements engine.Domains.
func (h *Host) DestroyDomain(ctx context.Context, name string) error {
	return change(ctx, h, "DestroyDomain", on(name), func() error {
		d, err := h.running(name)
		if err == nil {
			h.stop(d, engine.EventStopped)
		}
		return err
	})
}

// Crash ends a guest as when its QEMU died.
func (h *Host) Crash(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if d := h.domains[name]; d != nil && d.state.Active() {
		h.stop(d, engine.EventCrashed)
	}
}

// FillDisk pauses a guest as when the host has no room for what it writes.
func (h *Host) FillDisk(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if d := h.domains[name]; d != nil && d.state.Active() {
		d.state = engine.StatePaused
		h.tell(name, engine.EventDiskFull)
	}
}

// PowerOff ends a guest as when somebody in it said poweroff.
func (h *Host) PowerOff(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if d := h.domains[name]; d != nil && d.state.Active() {
		h.stop(d, engine.EventStopped)
	}
}

// Suspend lets a guest pause, as virsh suspend does.
func (h *Host) Suspend(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if d := h.domains[name]; d != nil && d.state == engine.StateRunning {
		d.state = engine.StatePaused
	}
}

func (h *Host) stop(d *domain, kind engine.EventKind) {
	transient := d.config == d.live
	d.state, d.live = engine.StateShutOff, nil
	if transient {
		delete(h.domains, d.name)
	}
	h.closeConsole(d.name, nil)
	h.closeChannel(d.name)
	h.tell(d.name, kind)
}

// SetLiveMemory implements engine.Domains. The guest gives and takes at once.
func (h *Host) SetLiveMemory(ctx context.Context, name string, size spec.Size) error {
	return change(ctx, h, "SetLiveMemory", on(name, size), func() error {
		d, err := h.running(name)
		if err != nil {
			return err
		}
		if size > d.live.memory {
			return fault.New(fault.Refused, "cannot set the memory of domain %s: it was started with %s and cannot have more without a restart", name, d.live.memory)
		}
		d.memory = size
		if d.live.record != nil {
			d.live.record.Memory = size
		}
		return nil
	})
}

// SetLiveCPUs implements engine.Domains.
func (h *Host) SetLiveCPUs(ctx context.Context, name string, n int) error {
	return change(ctx, h, "SetLiveCPUs", on(name, n), func() error {
		d, err := h.running(name)
		if err != nil {
			return err
		}
		if n > d.live.cpus || n < d.cpus {
			return fault.New(fault.Refused, "cannot set the CPUs of domain %s: the running guest cannot take this number of CPUs", name)
		}
		d.cpus = n
		return nil
	})
}

// ResizeLiveDisk implements engine.Domains.
func (h *Host) ResizeLiveDisk(ctx context.Context, name, file string, size spec.Size) error {
	return change(ctx, h, "ResizeLiveDisk", on(name, file, size), func() error {
		d, err := h.running(name)
		if err != nil {
			return err
		}
		v := h.volumes[path.Base(file)]
		if !slices.Contains(d.live.disks, file) || v == nil {
			return fault.New(fault.NotFound, "domain %s has no disk %s", name, file)
		}
		if size < v.Capacity {
			return fault.New(fault.Refused, "cannot grow the disk of domain %s: %s is less than it has", name, size)
		}
		v.Capacity = size
		return nil
	})
}
