package libvirt

import (
	"context"
	"sync"

	golibvirt "libvirt.org/go/libvirt"

	"vmctl/pkg/engine"
	"vmctl/pkg/libvirt/domainxml"
)

// Watch tells what happens to a domain, by name, so that it may begin before the
// domain exists. It is registered with the host when Watch returns.
func (c *conn) Watch(ctx context.Context, domain string) (<-chan engine.Event, error) {
	l, release, err := c.hold()
	if err != nil {
		return nil, err
	}
	_, err = call(ctx, c, changeGrace, "watch what happens on "+c.uri, func(l *golibvirt.Connect) (nothing, error) {
		c.broken(l)
		return nothing{}, c.events.register(l)
	})
	if err != nil {
		release()
		return nil, err
	}
	w := &watch{domain: domain, some: make(chan struct{}, 1)}
	c.events.add(w)
	out := make(chan engine.Event)
	go w.deliver(ctx, out, c.broken(l), func() {
		c.events.remove(w)
		release()
	})
	return out, nil
}

// events hands what libvirt tells to all watches of a connection. libvirt takes one
// registration of a kind per connection ("event callback already tracked").
type events struct {
	registering sync.Mutex
	ids         []int

	mu      sync.Mutex
	watches map[*watch]bool
}

// register asks the host for events, once.
func (e *events) register(l *golibvirt.Connect) error {
	e.registering.Lock()
	defer e.registering.Unlock()
	if len(e.ids) > 0 {
		return nil
	}
	id, err := l.DomainEventLifecycleRegister(nil, e.lifecycle)
	if err != nil {
		return err
	}
	e.ids = append(e.ids, id)
	// Drivers without agents refuse; then there is none to hear of.
	if id, err := l.DomainEventAgentLifecycleRegister(nil, e.agent); err == nil {
		e.ids = append(e.ids, id)
	}
	if id, err := l.DomainEventDeviceRemovedRegister(nil, e.removed); err == nil {
		e.ids = append(e.ids, id)
	}
	return nil
}

// deregister lets go of the connection, which the registrations hold.
func (e *events) deregister(l *golibvirt.Connect) {
	e.registering.Lock()
	defer e.registering.Unlock()
	for _, id := range e.ids {
		_ = l.DomainEventDeregister(id)
	}
	e.ids = nil
}

func (e *events) add(w *watch) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.watches == nil {
		e.watches = map[*watch]bool{}
	}
	e.watches[w] = true
}

func (e *events) remove(w *watch) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.watches, w)
}

// tell runs in libvirt's event loop and never blocks.
func (e *events) tell(d *golibvirt.Domain, kind engine.EventKind) {
	name, err := d.GetName()
	if err != nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for w := range e.watches {
		w.push(engine.Event{Kind: kind, Domain: name})
	}
}

func (e *events) lifecycle(_ *golibvirt.Connect, d *golibvirt.Domain, event *golibvirt.DomainEventLifecycle) {
	e.tell(d, lifecycleKind(event))
}

func (e *events) agent(_ *golibvirt.Connect, d *golibvirt.Domain, event *golibvirt.DomainEventAgentLifecycle) {
	kind := engine.EventOther
	if event.State == golibvirt.CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_CONNECTED {
		kind = engine.EventAgent
	}
	e.tell(d, kind)
}

// removed is told of all devices; only disks come and go.
func (e *events) removed(_ *golibvirt.Connect, d *golibvirt.Domain, _ *golibvirt.DomainEventDeviceRemoved) {
	e.tell(d, engine.EventDisk)
}

// watch is a queue between libvirt's event loop, which must never block, and a
// consumer that may be slow.
type watch struct {
	domain string
	some   chan struct{}

	mu    sync.Mutex
	queue []engine.Event
}

func (w *watch) push(event engine.Event) {
	if w.domain != "" && event.Domain != w.domain {
		return
	}
	w.mu.Lock()
	w.queue = append(w.queue, event)
	w.mu.Unlock()
	select {
	case w.some <- struct{}{}:
	default:
	}
}

func lifecycleKind(e *golibvirt.DomainEventLifecycle) engine.EventKind {
	switch e.Event {
	case golibvirt.DOMAIN_EVENT_STARTED:
		return engine.EventStarted
	case golibvirt.DOMAIN_EVENT_UNDEFINED:
		return engine.EventUndefined
	case golibvirt.DOMAIN_EVENT_CRASHED:
		return engine.EventCrashed
	case golibvirt.DOMAIN_EVENT_SUSPENDED:
		// QEMU stops a guest for a write that the host has no room for, and for no other.
		if golibvirt.DomainEventSuspendedDetailType(e.Detail) == golibvirt.DOMAIN_EVENT_SUSPENDED_IOERROR {
			return engine.EventDiskFull
		}
	case golibvirt.DOMAIN_EVENT_STOPPED:
		switch golibvirt.DomainEventStoppedDetailType(e.Detail) {
		case golibvirt.DOMAIN_EVENT_STOPPED_CRASHED, golibvirt.DOMAIN_EVENT_STOPPED_FAILED:
			return engine.EventCrashed
		}
		return engine.EventStopped
	}
	return engine.EventOther
}

// deliver hands events on until ctx ends or the connection is lost, of which it tells.
func (w *watch) deliver(ctx context.Context, out chan<- engine.Event, lost <-chan struct{}, stop func()) {
	defer close(out)
	defer stop()
	for {
		w.mu.Lock()
		batch := w.queue
		w.queue = nil
		w.mu.Unlock()
		for _, event := range batch {
			select {
			case out <- event:
			case <-ctx.Done():
				return
			}
		}
		select {
		case <-w.some:
		case <-ctx.Done():
			return
		case <-lost:
			select {
			case out <- engine.Event{Kind: engine.EventDisconnected, Domain: w.domain}:
			case <-ctx.Done():
			}
			return
		}
	}
}

// AgentConnected looks whether somebody in the guest has opened the agent's channel.
func (c *conn) AgentConnected(ctx context.Context, domain string) (bool, error) {
	return read(ctx, c, "ask for the agent of domain "+quoteName(domain), func(l *golibvirt.Connect) (connected bool, err error) {
		err = c.withDomain(l, domain, func(d *golibvirt.Domain) error {
			running, err := readXML(d, 0)
			if err != nil {
				return err
			}
			for _, channel := range running.Channels {
				if channel.Target.Name == domainxml.AgentChannel && channel.Target.State == "connected" {
					connected = true
				}
			}
			return nil
		})
		return connected, err
	})
}
