package engine

import (
	"context"
	"time"

	"vmctl/pkg/fault"
	"vmctl/pkg/progress"
)

// How a guest came to be off.
const (
	HaltedAlready   = "was off"
	HaltedGraceful  = "shut down"
	HaltedDestroyed = "destroyed"
)

// acpiAgain is how often the power button is pressed: a guest that is still booting
// does not notice the first time.
const acpiAgain = 5 * time.Second

// halt powers a guest off: by its agent, else by the ACPI power button, and by
// destroying it when it has not obeyed within timeout or when force is set.
func (e *Engine) halt(ctx context.Context, name string, timeout time.Duration, force bool) (string, error) {
	if force || timeout <= 0 {
		return e.destroy(ctx, name)
	}
	watch, cancel := context.WithCancel(ctx)
	defer cancel()
	events, err := e.Host.Events.Watch(watch, name)
	if err != nil {
		return "", err
	}
	d, err := e.Host.Domains.Domain(ctx, name)
	if err != nil {
		return "", err
	}
	if !d.State.Active() {
		return HaltedAlready, nil
	}
	if d.State == StatePaused {
		// Held CPUs cannot power off.
		if err := e.Host.Domains.ResumeDomain(ctx, name); err != nil {
			return "", err
		}
	}
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	asked := e.askAgent(watch, name)
	again := time.NewTicker(acpiAgain)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return "", fault.New(fault.Interrupted, "interrupted while %s was shutting down; it may still do so", name).
				WithHint("vmctl stop --force %s destroys it at once", name)
		case err := <-asked:
			asked = nil
			if err == nil || ctx.Err() != nil {
				continue
			}
			if err := e.unlessOff(ctx, name, e.Host.Domains.ShutdownDomain(ctx, name, ShutdownACPI)); err != nil {
				return "", err
			}
		case event, open := <-events:
			switch {
			case ctx.Err() != nil:
				// Its end ends the watch, too.
			case !open || event.Kind == EventDisconnected:
				return "", fault.New(fault.Unreachable, "the connection to %s was lost while %s was shutting down", e.Host.URI, name).
					WithHint("run the same command again")
			case event.Kind == EventStopped || event.Kind == EventCrashed || event.Kind == EventUndefined:
				return HaltedGraceful, nil
			}
		case <-again.C:
			// The guest may be gone by now; the event tells.
			_ = e.Host.Domains.ShutdownDomain(ctx, name, ShutdownACPI)
		case <-deadline.C:
			e.Sink.Emit(progress.Event{
				ID: name + "/halt", Status: progress.Note,
				Text: name + " did not shut down within " + timeout.String() + ": destroying it",
			})
			return e.destroy(ctx, name)
		}
	}
}

// askAgent asks the guest to power off by its agent, and gives an error where none
// obeys. libvirt answers when the guest is off or a minute has passed, so that nobody
// may wait for the answer alone.
func (e *Engine) askAgent(ctx context.Context, name string) <-chan error {
	asked := make(chan error, 1)
	if connected, err := e.Host.Events.AgentConnected(ctx, name); err != nil || !connected {
		asked <- fault.New(fault.NotFound, "no agent listens in %s", name)
		return asked
	}
	go func() { asked <- e.Host.Domains.ShutdownDomain(ctx, name, ShutdownAgent) }()
	return asked
}

// destroy pulls the plug, unless somebody else has.
func (e *Engine) destroy(ctx context.Context, name string) (string, error) {
	err := e.Host.Domains.DestroyDomain(ctx, name)
	if err == nil {
		return HaltedDestroyed, nil
	}
	return HaltedAlready, e.unlessOff(ctx, name, err)
}

// unlessOff forgives an error that came from the guest having gone off by itself. The
// observed state decides, not the error.
func (e *Engine) unlessOff(ctx context.Context, name string, err error) error {
	if err == nil {
		return nil
	}
	if d, look := e.Host.Domains.Domain(ctx, name); look == nil && !d.State.Active() {
		return nil
	}
	return err
}
