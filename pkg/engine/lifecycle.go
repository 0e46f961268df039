package engine

import (
	"context"
	"errors"

	"vmctl/pkg/fault"
)

// Managed is the machine's domain, with a sentence for people when there is none; it refuses
// foreign ones.
func (e *Engine) Managed(ctx context.Context, name string) (*Domain, error) {
	d, err := e.Host.Domains.Domain(ctx, name)
	if fault.Is(err, fault.NotFound) {
		return nil, fault.New(fault.NotFound, "machine %s is not up on %s", name, e.Host.URI).
			WithHint("vmctl up %s", name)
	}
	if err != nil {
		return nil, err
	}
	return d, e.owned(d, false)
}

// Look is Managed for what only reads: also a machine that a newer vmctl made is shown.
func (e *Engine) Look(ctx context.Context, name string) (*Domain, error) {
	d, err := e.Managed(ctx, name)
	if d != nil && newer(d) {
		return d, nil
	}
	return d, err
}

// Stop powers the guest off and keeps everything. It says how that came about.
func (e *Engine) Stop(ctx context.Context, name string, o DownOptions) (string, error) {
	unlock, err := e.Locker.Lock(ctx, name)
	if err != nil {
		return "", err
	}
	defer unlock()
	d, err := e.Managed(ctx, name)
	if err != nil {
		return "", err
	}
	how := HaltedAlready
	if !d.State.Active() {
		return how, nil
	}
	ops := []Op{op(ActionStopDomain, name, "",
		func(ctx context.Context, e *Engine) error {
			var err error
			how, err = e.halt(ctx, name, o.Timeout, o.Force)
			return err
		}, nil)}
	p := &planner{s: &snapshot{domain: d}, plan: &Plan{}, stopped: true}
	if p.s.pool, err = e.Host.Pools.Pool(ctx); err == nil {
		p.w.Machine.Name = name
		err = errors.Join(e.observeFirmware(ctx, p.w, p.s), e.observeDelivery(ctx, name, p.s))
	}
	if err == nil {
		// What cannot be seen now, the next up sees.
		p.dropDelivery()
		ops = append(ops, p.plan.Ops...)
	}
	err = e.apply(ctx, &Plan{Machine: name, Ops: ops})
	return how, err
}

// StartOptions are what a boot needs beyond the definition that the host has.
type StartOptions struct {
	// BeforeBoot is Options.BeforeBoot.
	BeforeBoot func(ctx context.Context) error
	// Delivery is Wanted.Delivery.
	Delivery *Delivery
}

// Started is what a start did.
type Started struct {
	// Booted is false when the guest ran already.
	Booted bool
	// Resumed says that the guest was paused.
	Resumed bool
	// Delivering says that Deliver has to follow.
	Delivering bool
	// Record is what the machine was made from.
	Record *Record
}

// Start boots a machine as it was defined last, whatever its definition says now.
func (e *Engine) Start(ctx context.Context, name string, o StartOptions) (Started, error) {
	unlock, err := e.Locker.Lock(ctx, name)
	if err != nil {
		return Started{}, err
	}
	defer unlock()
	p, err := e.pushing(ctx, name, o.Delivery)
	if err != nil {
		return Started{}, err
	}
	if err := e.unmoved(p.s.domain); err != nil {
		return Started{}, err
	}
	return e.bootPlanned(ctx, p, o)
}

// start is Start for callers that have the machine's lock.
func (e *Engine) start(ctx context.Context, name string, o StartOptions) (Started, error) {
	p, err := e.pushing(ctx, name, o.Delivery)
	if err != nil {
		return Started{}, err
	}
	return e.bootPlanned(ctx, p, o)
}

func (e *Engine) bootPlanned(ctx context.Context, p *planner, o StartOptions) (Started, error) {
	d := p.s.domain
	p.o.BeforeBoot = o.BeforeBoot
	if !d.State.Active() {
		for _, network := range networks(d.Record.cards()) {
			if n, err := e.Host.Networks.Network(ctx, network); err == nil && !n.Active {
				p.add(startNetwork(network))
			}
		}
	}
	p.dropLeft()
	p.boot()
	p.handRunning(nil)
	did := Started{Booted: p.plan.has(ActionStartDomain), Delivering: p.plan.has(ActionHandOver), Record: d.Record}
	did.Resumed = !did.Booted && d.State == StatePaused
	return did, e.apply(ctx, p.plan)
}
