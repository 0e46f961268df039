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
	w := &watch{domain: domain, some: make(chan struct{}, 1)}
	var ids []int
	registered := make(chan struct{})
	_, err = call(ctx, c, changeGrace, "watch what happens on "+c.uri, func(*golibvirt.Connect) (nothing, error) {
		defer close(registered)
		id, err := l.DomainEventLifecycleRegister(nil, w.lifecycle)
		if err != nil {
			return nothing{}, err
		}
		ids = append(ids, id)
		// Drivers without agents refuse; then there is none to hear of.
		if id, err := l.DomainEventAgentLifecycleRegister(nil, w.agent); err == nil {
			ids = append(ids, id)
		}
		return nothing{}, nil
	})
	stop := func() {
		<-registered
		for _, id := range ids {
			_ = l.DomainEventDeregister(id)
		}
		release()
	}
	if err != nil {
		go stop()
		return nil, err
	}
	out := make(chan engine.Event)
	go w.deliver(ctx, out, c.broken(l), stop)
	return out, nil
}

// watch is a queue between libvirt's event loop, which must never block, and a
// consumer that may be slow.
type watch struct {
	domain string
	some   chan struct{}

	mu    sync.Mutex
	queue []engine.Event
}

func (w *watch) push(d *golibvirt.Domain, kind engine.EventKind) {
	name, err := d.GetName()
	if err != nil || w.domain != "" && name != w.domain {
		return
	}
	w.mu.Lock()
	w.queue = append(w.queue, engine.Event{Kind: kind, Domain: name})
	w.mu.Unlock()
	select {
	case w.some <- struct{}{}:
	default:
	}
}

func (w *watch) lifecycle(_ *golibvirt.Connect, d *golibvirt.Domain, e *golibvirt.DomainEventLifecycle) {
	w.push(d, lifecycleKind(e))
}

func lifecycleKind(e *golibvirt.DomainEventLifecycle) engine.EventKind {
	switch e.Event {
	case golibvirt.DOMAIN_EVENT_STARTED:
		return engine.EventStarted
	case golibvirt.DOMAIN_EVENT_UNDEFINED:
		return engine.EventUndefined
	case golibvirt.DOMAIN_EVENT_CRASHED:
		return engine.EventCrashed
	case golibvirt.DOMAIN_EVENT_STOPPED:
		switch golibvirt.DomainEventStoppedDetailType(e.Detail) {
		case golibvirt.DOMAIN_EVENT_STOPPED_CRASHED, golibvirt.DOMAIN_EVENT_STOPPED_FAILED:
			return engine.EventCrashed
		}
		return engine.EventStopped
	}
	return engine.EventOther
}

func (w *watch) agent(_ *golibvirt.Connect, d *golibvirt.Domain, e *golibvirt.DomainEventAgentLifecycle) {
	if e.State == golibvirt.CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_CONNECTED {
		w.push(d, engine.EventAgent)
		return
	}
	w.push(d, engine.EventOther)
}

// deliver hands events on until ctx ends or the connection is lost, of which it tells.
func (w *watch) deliver(ctx context.Context, out chan<- engine.Event, lost <-chan struct{}, stop func()) {
	// Taking the watch back asks the host, which may hang; the channel does not wait for it.
	defer func() { go stop() }()
	defer close(out)
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
		err = withDomain(l, domain, func(d *golibvirt.Domain) error {
			text, err := d.GetXMLDesc(0)
			if err != nil {
				return err
			}
			running, err := parseDomain(text)
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
