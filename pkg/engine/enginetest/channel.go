package enginetest

import (
	"context"
	"io"
	"slices"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// OpenChannel implements engine.Consoles. Guests have the port for reports, and no other.
func (h *Host) OpenChannel(ctx context.Context, name, channel string) (io.ReadWriteCloser, error) {
	return read(ctx, h, "OpenChannel", on(name, channel), func() (io.ReadWriteCloser, error) {
		d, err := h.running(name)
		if err != nil {
			return nil, err
		}
		if channel != spec.ReportChannel {
			return nil, fault.New(fault.NotFound, "domain %s has no port %s", name, channel)
		}
		if h.channels[name] != nil {
			return nil, fault.New(fault.Refused, "cannot attach to port %s of domain %s: somebody else is attached to it", channel, name)
		}
		c := newConsole()
		c.echo = func(string) {}
		c.leave = func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			if h.channels[name] == c {
				delete(h.channels, name)
			}
		}
		for _, line := range d.guest.Reports {
			c.out.WriteString(line)
		}
		h.channels[name] = c
		return c, nil
	})
}

// Report makes a running guest write to its port for reports.
func (h *Host) Report(name, text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := h.channels[name]; c != nil {
		c.mu.Lock()
		c.out.WriteString(text)
		c.moved.Broadcast()
		c.mu.Unlock()
	}
}

// ConnectAgent lets the agent of a running guest answer.
func (h *Host) ConnectAgent(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if d := h.domains[name]; d != nil && d.state.Active() {
		d.guest.Agent = true
		h.tell(name, engine.EventAgent)
	}
}

// closeChannel ends the port of a guest that is off.
func (h *Host) closeChannel(name string) {
	if c := h.channels[name]; c != nil {
		delete(h.channels, name)
		c.finish(io.EOF)
	}
}

// NoteApplied implements engine.Domains.
func (h *Host) NoteApplied(ctx context.Context, name string, all []engine.Applied) error {
	return change(ctx, h, "NoteApplied", on(name), func() error {
		d, err := h.find(name)
		if err != nil {
			return err
		}
		for _, of := range []*definition{d.config, d.live} {
			if of != nil && of.record != nil {
				of.record.Applied = slices.Clone(all)
			}
		}
		return nil
	})
}

// NoteReady implements engine.Domains.
func (h *Host) NoteReady(ctx context.Context, name string) error {
	return change(ctx, h, "NoteReady", on(name), func() error {
		d, err := h.running(name)
		if err == nil && d.live.record != nil {
			d.live.record.Ready = true
		}
		return err
	})
}
