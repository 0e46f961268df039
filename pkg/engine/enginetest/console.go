package enginetest

import (
	"bytes"
	"context"
	"io"
	"os"
	"path"
	"sync"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// console is one viewer's end of a serial console.
type console struct {
	mu     sync.Mutex
	moved  *sync.Cond
	out    bytes.Buffer
	typed  bytes.Buffer
	end    error
	closed bool
	leave  func()
	// echo is called with what was typed.
	echo func(string)
}

func newConsole() *console {
	c := &console{}
	c.moved = sync.NewCond(&c.mu)
	return c
}

func (c *console) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.out.Len() == 0 {
		if c.closed {
			return 0, os.ErrClosed
		}
		if c.end != nil {
			return 0, c.end
		}
		c.moved.Wait()
	}
	return c.out.Read(p)
}

func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	if c.closed || c.end != nil {
		c.mu.Unlock()
		return 0, io.ErrClosedPipe
	}
	c.typed.Write(p)
	c.mu.Unlock()
	c.echo(string(p))
	return len(p), nil
}

func (c *console) Close() error {
	c.mu.Lock()
	first := !c.closed
	c.closed = true
	c.moved.Broadcast()
	c.mu.Unlock()
	if first {
		c.leave()
	}
	return nil
}

func (c *console) finish(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.end == nil {
		c.end = err
	}
	c.moved.Broadcast()
}

// OpenConsole implements engine.Consoles.
func (h *Host) OpenConsole(ctx context.Context, name string, force bool) (io.ReadWriteCloser, error) {
	args := on(name)
	if force {
		args = on(name, "force")
	}
	return read(ctx, h, "OpenConsole", args, func() (io.ReadWriteCloser, error) {
		if _, err := h.running(name); err != nil {
			return nil, err
		}
		if h.consoles[name] != nil {
			if !force {
				return nil, fault.New(fault.Refused, "cannot attach to the console of domain %s: somebody else is attached to it", name).
					WithHint("vmctl console --force %s takes it over", name)
			}
			h.closeConsole(name, fault.New(fault.Refused, "somebody else took over the console of domain %s", name))
		}
		c := newConsole()
		c.echo = func(text string) { h.echo(name, text) }
		c.leave = func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			if h.consoles[name] == c {
				delete(h.consoles, name)
			}
		}
		h.consoles[name] = c
		return c, nil
	})
}

// closeConsole ends the viewer's console; nil is a proper end.
func (h *Host) closeConsole(name string, err error) {
	c := h.consoles[name]
	if c == nil {
		return
	}
	delete(h.consoles, name)
	if err == nil {
		err = io.EOF
	}
	c.finish(err)
}

// Print makes a running guest print to its console.
func (h *Host) Print(name, text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if d := h.domains[name]; d != nil && d.state.Active() {
		h.print(d, text)
	}
}

func (h *Host) echo(name, text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if d := h.domains[name]; d != nil && d.state == engine.StateRunning && d.guest.Echo {
		h.print(d, text)
	}
}

func (h *Host) print(d *domain, text string) {
	if c := h.consoles[d.name]; c != nil {
		c.mu.Lock()
		c.out.WriteString(text)
		c.moved.Broadcast()
		c.mu.Unlock()
	}
	if v := h.volumes[path.Base(d.live.log)]; v != nil {
		v.content = append(v.content, text...)
		v.Allocation = spec.Size(len(v.content))
		v.Capacity = v.Allocation
	}
}

// Typed is what the present viewer of a console has sent to the guest.
func (h *Host) Typed(name string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.consoles[name]
	if c == nil {
		return ""
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.typed.String()
}

// newLog begins the console's log anew, as each boot does. The file appears in the
// pool's directory by itself.
func (h *Host) newLog(d *domain) {
	if d.live.log == "" {
		return
	}
	name := path.Base(d.live.log)
	if v := h.volumes[name]; v != nil {
		v.content = nil
		return
	}
	h.volumes[name] = &volume{
		Volume: engine.Volume{Name: name, Path: d.live.log, Format: "raw"}, hidden: true,
	}
}
