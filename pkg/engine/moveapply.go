package engine

import (
	"context"
	"errors"

	"vmctl/pkg/fault"
	"vmctl/pkg/progress"
)

// carryOut runs the operations up to the machine's arrival. When one fails, what becomes of the move is decided as by
// whoever comes next: by what is seen on both hosts.
func (m *Move) carryOut(ctx context.Context, plan *MovePlan, o MoveOptions) error {
	for _, note := range plan.Notes {
		m.To.Sink.Emit(progress.Event{ID: m.Name + "/note", Status: progress.Note, Text: note})
	}
	var undo []MoveOp
	for _, op := range plan.Ops {
		if op.stage == cleaning {
			break
		}
		if err := m.perform(ctx, op); err != nil {
			return m.failed(ctx, op, err, undo, o)
		}
		if op.undo != nil {
			undo = append(undo, op)
		}
	}
	return nil
}

// perform runs one operation and tells the sink.
func (m *Move) perform(ctx context.Context, o MoveOp) error {
	event := progress.Event{
		ID:   m.Name + "/" + string(o.Action) + " " + o.Resource + " on " + o.Host,
		Text: o.text() + " on " + o.Host, Detail: o.Cause,
	}
	report := func(p MoveProgress) {
		event.Unit, event.Current, event.Total = progress.Bytes, min(p.Done, p.Total), p.Total
		o.on.Sink.Emit(event)
	}
	if !o.quiet {
		o.on.Sink.Emit(event)
	}
	var err error
	switch {
	case ctx.Err() != nil:
		err = &fault.Error{Kind: fault.Interrupted, Msg: "interrupted", Cause: context.Cause(ctx)}
	case o.live != nil:
		err = o.live(ctx, report)
	default:
		err = o.run(ctx, o.on, func(sent int64) { report(MoveProgress{sent, o.total}) })
	}
	if o.quiet {
		return err
	}
	event.Status = progress.Done
	if err != nil {
		event.Status, event.Err = progress.Failed, err
	}
	o.on.Sink.Emit(event)
	return err
}

// failed settles a move that did not come to its end. The engine's own context bounds it,
// because the caller's may be the reason.
func (m *Move) failed(ctx context.Context, at MoveOp, cause error, undo []MoveOp, o MoveOptions) error {
	if errors.Is(cause, errStays) {
		undo = nil // the next one goes on with the image
	} else if ctx.Err() != nil && at.undo != nil {
		undo = append(undo, at) // it may have happened all the same
	}
	if ctx.Err() != nil && at.Action != ActionStopDomain && !errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		cause = fault.New(fault.Interrupted, "interrupted")
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
	defer cancel()
	if at.stage != preparing {
		there, err := found(m.To.Host.Domains.Domain(ctx, m.Name))
		switch {
		case err != nil:
			return errors.Join(cause, fault.New(fault.KindOf(err), "whether %s has arrived on %s is not known: %w", m.Name, m.ToName, err).
				WithHint("vmctl migrate %s again finds out, and goes on from there", m.Name))
		case hasArrived(there) && there.State.Active():
			return m.arrivedAnyway(ctx, cause, o)
		case hasArrived(there):
			// It was made there by this run, and does not run.
			if err := m.To.Host.Domains.UndefineDomain(ctx, m.Name); err != nil && !fault.Is(err, fault.NotFound) {
				return errors.Join(cause, err)
			}
		}
	}
	if err := m.takeBack(ctx, at.stage == preparing, o.Start); err != nil {
		return errors.Join(cause, err)
	}
	for i := len(undo) - 1; i >= 0; i-- {
		if err := undo[i].undo(ctx, undo[i].on); err != nil && !fault.Is(err, fault.NotFound) {
			return errors.Join(cause, fault.New(fault.KindOf(err), "taking back what was done on %s: %w", undo[i].Host, err).
				WithHint("vmctl image prune removes what is left"))
		}
	}
	if fault.Is(cause, fault.Interrupted) && at.Action != ActionStopDomain {
		return fault.New(fault.Interrupted, "interrupted; %s stays on %s, and what was begun has been taken back", m.Name, m.FromName)
	}
	return cause
}

// arrivedAnyway finishes a move whose guest runs on the other host although a call failed,
// as when its answer was lost.
func (m *Move) arrivedAnyway(ctx context.Context, cause error, o MoveOptions) error {
	was, err := found(m.From.Host.Domains.Domain(ctx, m.Name))
	if err == nil {
		err = m.finish(ctx, was, o)
	}
	if err == nil && fault.Is(cause, fault.Interrupted) {
		return fault.New(fault.Interrupted, "interrupted when %s ran on %s already, where it stays", m.Name, m.ToName)
	}
	return err
}

// each runs operations until one fails.
func (m *Move) each(ctx context.Context, ops []MoveOp) error {
	for _, op := range ops {
		if err := m.perform(ctx, op); err != nil {
			return err
		}
	}
	return nil
}

// unfinished says where a machine is of which something is left behind.
func (m *Move) unfinished(ctx context.Context, cause error) error {
	if ctx.Err() != nil {
		cause = fault.New(fault.Interrupted, "interrupted")
	}
	return fault.New(fault.KindOf(cause), "%s is on %s now, but not all that is left on %s could be removed: %w", m.Name, m.ToName, m.FromName, cause).
		WithHint("run the same command again: it removes the rest")
}
