package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"vmctl/pkg/ansi"
	"vmctl/pkg/fault"
	"vmctl/pkg/progress"
)

// MovingError is why a machine was left alone: its move to another host was cut short.
type MovingError struct{ To string }

// Error is one sentence.
func (e *MovingError) Error() string { return "the machine is on its way to " + e.To }

// unmoved refuses to start or change what may be a machine's leftovers.
func (e *Engine) unmoved(d *Domain) error {
	if d == nil || d.Record == nil || d.Record.Moving == nil {
		return nil
	}
	refused := &fault.Error{
		Kind: fault.Refused, Msg: fmt.Sprintf("%s is on its way from %s to %s", d.Name, e.Host.URI, d.Record.Moving.To),
		Cause: &MovingError{To: d.Record.Moving.To},
	}
	return refused.WithHint("vmctl migrate %[1]s %[2]s goes on with it; vmctl up, down and start find out where it is", d.Name, ansi.ShellWord(d.Record.Moving.To))
}

// incoming refuses to make a machine anew that is on its way to this host.
func (e *Engine) incoming(machine, from string) error {
	return fault.New(fault.Refused, "%s is on its way to %s%s, and has not arrived", machine, e.Host.URI, from).
		WithHint("go on with vmctl migrate; or remove what has come so far: vmctl down %s", machine)
}

// comesFrom reads the marker of a machine that is on its way here; ok says that there is one.
func (e *Engine) comesFrom(ctx context.Context, machine string) (from string, ok bool, err error) {
	v, err := found(e.Host.Volumes.Volume(ctx, ArrivingVolume(machine)))
	if v == nil || err != nil {
		return "", false, err
	}
	text, err := e.Host.Volumes.ReadRange(ctx, v.Name, 0, 512)
	if err != nil {
		return "", true, nil // it only helps with a sentence
	}
	if uri := strings.TrimSpace(strings.Trim(string(text), "\x00")); uri != "" {
		from = " from " + uri
	}
	return from, true, nil
}

// Where is what is known of a machine whose move was cut short.
type Where struct {
	// Note is nil when the machine is not on its way.
	Note *Moving
	// Arrived says that the machine is on the other host.
	Arrived bool
	// Running says that it runs there.
	Running bool
}

// where asks the other host, if only that one can know.
func (m *Move) where(ctx context.Context, d *Domain) (Where, error) {
	w := Where{}
	if d == nil || d.Record == nil || d.Record.Moving == nil {
		return w, nil
	}
	w.Note = d.Record.Moving
	if d.State.Active() {
		if busy, err := m.From.Host.Moves.MovingLive(ctx, m.Name); err != nil || busy {
			return w, errors.Join(err, m.stillMoving())
		}
	}
	if !w.Note.Deciding {
		return w, nil
	}
	if m.To == nil {
		return w, fault.New(fault.Unreachable, "whether %s has arrived on %s is not known", m.Name, w.Note.To).
			WithHint("try again when that host answers; or, if it is gone for good, vmctl migrate --give-up %s %s", m.Name, w.Note.To)
	}
	can, err := m.To.Host.Inspector.Capabilities(ctx)
	if err != nil {
		return w, err
	}
	if w.Note.ID != m.hostID(can) {
		return w, fault.New(fault.Refused, "%s was moved to %s as another computer calls it, which is not the %s that is known here", m.Name, w.Note.To, w.Note.To).
			WithHint("run this where the move was begun")
	}
	there, err := found(m.To.Host.Domains.Domain(ctx, m.Name))
	if err != nil {
		return w, err
	}
	w.Arrived = hasArrived(there)
	w.Running = w.Arrived && there.State.Active()
	if there != nil && there.Transient && there.State.Active() {
		return w, fault.New(fault.Refused, "%s is just arriving on %s", m.Name, m.ToName).WithHint("try again in a moment")
	}
	return w, nil
}

// Settle finds out where a machine is whose move was cut short, and takes the move back
// unless the machine has arrived: then it stays on the first host, and what the other has of
// it goes, if that can be reached (To is nil where nobody could connect to it). A guest that was
// stopped for the move stays off.
func (m *Move) Settle(ctx context.Context, start StartOptions) (Where, error) {
	unlock, err := m.From.Locker.Lock(ctx, m.Name)
	if err != nil {
		return Where{}, err
	}
	defer unlock()
	d, err := found(m.From.Host.Domains.Domain(ctx, m.Name))
	if err != nil {
		return Where{}, err
	}
	w, err := m.where(ctx, d)
	if err != nil || w.Note == nil || w.Arrived {
		return w, err
	}
	return w, m.giveUp(ctx, true, false, start)
}

// GiveUp takes a move back without asking whether the machine has arrived.
func (m *Move) GiveUp(ctx context.Context, start StartOptions) error {
	unlock, err := m.From.Locker.Lock(ctx, m.Name)
	if err != nil {
		return err
	}
	defer unlock()
	return m.giveUp(ctx, true, true, start)
}

// takeBack is giveUp in the run that began the move.
func (m *Move) takeBack(ctx context.Context, elsewhereToo bool, start StartOptions) error {
	return m.giveUp(ctx, elsewhereToo, true, start)
}

// giveUp clears the other host first: what is left there must not outlive the note that
// says what it is, unless that host cannot be reached and lenient allows it. Its marker
// still tells then.
func (m *Move) giveUp(ctx context.Context, lenient, restart bool, start StartOptions) error {
	d, err := found(m.From.Host.Domains.Domain(ctx, m.Name))
	if err != nil {
		return err
	}
	if m.To != nil {
		if err := m.clearThere(ctx, d); err != nil {
			if !lenient {
				return err
			}
			m.From.Sink.Emit(progress.Event{ID: m.Name + "/there", Status: progress.Note,
				Text: fmt.Sprintf("what has come to %s so far stays there: %s; vmctl -c %s down %s removes it", m.ToName, err, ansi.ShellWord(m.ToURI), m.Name)})
		}
	}
	if d == nil || d.Record == nil || d.Record.Moving == nil {
		return nil
	}
	note := d.Record.Moving
	var failed error
	switch {
	case !note.Running || !restart:
	case d.State == StatePaused:
		failed = m.perform(ctx, m.resumeOp())
	case !d.State.Active():
		failed = m.perform(ctx, m.againOp(start))
		m.restarted = failed == nil
	}
	// Also when that failed: the machine is here, and whoever starts it next must be able to.
	var ops []MoveOp
	if note.Autostart && !d.Autostart {
		ops = append(ops, m.here(preparing, autostart(m.Name, true)))
	}
	ops = append(ops, m.here(preparing, op(ActionNoteMove, m.Name, "it stays",
		func(ctx context.Context, e *Engine) error { return e.Host.Moves.NoteMove(ctx, m.Name, nil) }, nil)))
	return errors.Join(failed, m.each(ctx, ops))
}

// againOp boots the machine where it was.
func (m *Move) againOp(start StartOptions) MoveOp {
	again := m.here(preparing, op(ActionStartDomain, m.Name, "it was stopped for the move",
		func(ctx context.Context, e *Engine) error { _, err := e.start(ctx, m.Name, start); return err }, nil))
	again.quiet = true
	return again
}

// Restarted says that a guest that was stopped for the move was booted again where it was:
// what it was handed, Deliver has to follow there.
func (m *Move) Restarted() bool { return m.restarted }

// clearThere removes what the other host has of a machine that has not arrived.
func (m *Move) clearThere(ctx context.Context, d *Domain) error {
	side, err := readSide(ctx, m.To, m.Name)
	if err != nil {
		return err
	}
	if side.domain != nil || !side.arriving {
		return nil
	}
	ops := m.clearOps(side)
	if d != nil {
		release, err := m.To.releasing(ctx, d)
		if err != nil {
			return err
		}
		for _, o := range release {
			ops = append([]MoveOp{m.there(preparing, o)}, ops...)
		}
	}
	for _, o := range ops {
		if err := m.perform(ctx, o); err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
	}
	return nil
}
