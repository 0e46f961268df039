package cli

import (
	"context"
	"errors"

	"vmctl/pkg/ansi"
	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
)

// settled does something with a machine. One whose move to another host was cut short is
// looked for first: it stays here unless it has arrived there.
func (c *call) settled(ctx context.Context, t *target, e *engine.Engine, do func() error) error {
	w, _, err := c.settle(ctx, t, e, do)
	if err == nil && w.Arrived {
		return arrivedAt(c, t.name, e, w)
	}
	return err
}

// settle is settled for what also knows what to do with a machine that has arrived.
func (c *call) settle(ctx context.Context, t *target, e *engine.Engine, do func() error) (engine.Where, *engine.Move, error) {
	err := do()
	moving, ok := errors.AsType[*engine.MovingError](err)
	if !ok {
		return engine.Where{}, nil, err
	}
	m := c.moveFrom(t.name, e, moving.To)
	there, err := c.engine(ctx, moving.To, t.project)
	switch {
	case err == nil:
		m.To = there
	case ctx.Err() != nil:
		return engine.Where{}, nil, err
	default:
		c.note(t.name, err)
	}
	w, err := m.Settle(ctx, engine.StartOptions{Delivery: c.delivery(t)})
	if err != nil || w.Arrived {
		return w, m, err
	}
	c.note(t.name, fault.New(fault.Other, "the move of %s to %s was cut short: it stays on %s", t.name, m.ToName, m.FromName))
	return w, m, do()
}

// arrivedAt says where a machine is that has left this host.
func arrivedAt(c *call, name string, e *engine.Engine, w engine.Where) error {
	to := c.called(w.Note.To)
	return fault.New(fault.Refused, "%s is on %s now; what it left on %s has not been removed yet", name, to, c.called(e.Host.URI)).
		WithHint("%s migrate %s %s removes it; %s up %[2]s is for the machine itself", c.onHost(), name, ansi.ShellWord(to), c.on(w.Note.To))
}

// finishMove removes what a machine has left here that has arrived elsewhere.
func (c *call) finishMove(ctx context.Context, t *target, m *engine.Move) error {
	_, err := m.Run(ctx, engine.MoveOptions{
		Way: engine.WayFinish, Start: engine.StartOptions{Delivery: c.delivery(t)},
		Gone: func(base string) { c.forgetAt(ctx, t, m.From, base) },
	})
	return err
}
