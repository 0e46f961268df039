package engine

import (
	"context"

	"vmctl/pkg/fault"
)

// managed reads a machine's domain, with a sentence for people when there is none.
func (e *Engine) managed(ctx context.Context, name string) (*Domain, error) {
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

// Managed is the machine's domain; it refuses foreign ones.
func (e *Engine) Managed(ctx context.Context, name string) (*Domain, error) {
	return e.managed(ctx, name)
}

// Stop powers the guest off and keeps everything. It says how that came about.
func (e *Engine) Stop(ctx context.Context, name string, o DownOptions) (string, error) {
	unlock, err := e.Locker.Lock(ctx, name)
	if err != nil {
		return "", err
	}
	defer unlock()
	d, err := e.managed(ctx, name)
	if err != nil {
		return "", err
	}
	how := HaltedAlready
	if !d.State.Active() {
		return how, nil
	}
	err = e.apply(ctx, &Plan{Machine: name, Ops: []Op{op(ActionStopDomain, name, "",
		func(ctx context.Context, e *Engine) error {
			var err error
			how, err = e.halt(ctx, name, o.Timeout, o.Force)
			return err
		}, nil)}})
	return how, err
}

// Start boots a machine as it was defined last, whatever its definition says now. It
// reports false when the guest ran already.
func (e *Engine) Start(ctx context.Context, name string, beforeBoot func(context.Context) error) (bool, error) {
	unlock, err := e.Locker.Lock(ctx, name)
	if err != nil {
		return false, err
	}
	defer unlock()
	d, err := e.managed(ctx, name)
	if err != nil {
		return false, err
	}
	p := &planner{
		e: e, w: Wanted{}, s: &snapshot{domain: d}, o: Options{BeforeBoot: beforeBoot},
		plan: &Plan{Machine: name, Host: e.Host.URI},
	}
	p.w.Machine.Name = name
	if !d.State.Active() {
		for _, network := range networks(d.Record.cards()) {
			if n, err := e.Host.Networks.Network(ctx, network); err == nil && !n.Active {
				p.add(startNetwork(network))
			}
		}
	}
	p.boot()
	return p.plan.has(ActionStartDomain), e.apply(ctx, p.plan)
}
