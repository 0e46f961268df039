package cli

import (
	"context"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/guest"
)

// settle looks at the guest after a change, notes which system it has, and restarts it where that
// is asked for and needed.
func (g *systemGuest) settle(ctx context.Context, o systemOptions, r *systemResult, image string) error {
	before := g.state
	state, err := g.look(ctx, r.System)
	if err != nil {
		return err
	}
	g.state = state
	r.Generation = g.state.Generation
	r.Waiting, r.FailedUnits = append(r.Waiting, g.state.Reboot...), append(r.FailedUnits, g.state.FailedUnits...)
	if o.mode != guest.ModeTest {
		first, _ := g.state.Of(1)
		if err := g.e.NoteApplied(ctx, g.name, first.System, engine.Applied{System: r.System, Image: image}); err != nil {
			return err
		}
		g.c.keepApplied(g.host.URI, g.name, r.System)
	}
	if o.reboot && (len(r.Waiting) > 0 || g.state.Current != r.System) {
		return g.reboot(ctx, o, r, before)
	}
	return nil
}

// reboot restarts the guest as vmctl restart does, so that it gets its secrets, and goes back
// to what it booted before when it is not ready.
func (g *systemGuest) reboot(ctx context.Context, o systemOptions, r *systemResult, before guest.SystemState) error {
	again := func() error {
		if _, err := g.c.stop(ctx, g.name, engine.DownOptions{Timeout: stopTimeout}); err != nil {
			return err
		}
		started, err := g.c.start(ctx, g.name, waiting{timeout: o.timeout})
		if started != nil {
			r.Ready = started.Ready
		}
		return err
	}
	err := again()
	if err == nil {
		r.Rebooted, r.Waiting = true, []string{}
		return nil
	}
	if fault.Is(err, fault.Interrupted) || before.Generation == 0 || before.Generation == g.state.Generation {
		return err
	}
	g.c.note(g.name, fault.New(fault.Other, "%s is not ready with its new system: it boots the previous one again", g.name))
	old, known := before.Of(before.Generation)
	if back := g.change(ctx, old.System, old.Number, guest.ModeBoot, o.timeout, r); !known || back != nil {
		return fault.New(fault.KindOf(err), "%s has booted its new system, and is not ready: %w", g.name, err).
			WithHint("nobody gets in to go back: choose the previous generation in the boot menu, with vmctl console %s", g.name)
	}
	if noted := g.e.NoteApplied(ctx, g.name, "", engine.Applied{System: old.System}); noted != nil {
		g.c.note(g.name, noted)
	}
	if back := again(); back != nil {
		return back
	}
	return fault.New(fault.KindOf(err), "%s was not ready after a boot with its new system, and has booted the previous one: %w", g.name, err)
}
