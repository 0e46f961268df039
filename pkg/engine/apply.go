package engine

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"vmctl/pkg/fault"
	"vmctl/pkg/progress"
)

// undoTime bounds how long taking back may need after a failure or Ctrl-C.
const undoTime = 30 * time.Second

// errElsewhere is in errors that say that somebody else runs the machine now: what this
// run made for it is in use and stays.
var errElsewhere = errors.New("somebody else started the machine")

// errCutOff says of a run that was cut off from its host that nothing was taken back.
var errCutOff = fault.New(fault.Unreachable, "what was begun is still there").
	WithHint("when the host answers again, the same command goes on from there, and vmctl down removes it")

// apply carries out a plan. It decides nothing. When an operation fails, what this
// run created is taken back in reverse order, with a context of its own because the
// caller's may be the reason for the failure.
func (e *Engine) apply(ctx context.Context, p *Plan) error {
	for _, note := range p.Notes {
		e.Sink.Emit(progress.Event{ID: p.Machine + "/note", Status: progress.Note, Text: note})
	}
	var undo []step
	for _, o := range p.Ops {
		if o.run == nil {
			continue
		}
		err := e.perform(ctx, p.Machine, o)
		if errors.Is(err, errElsewhere) || errors.Is(err, errStays) || errors.Is(err, errCutOff) {
			return err
		}
		if err != nil {
			left := e.undo(ctx, undo)
			if len(undo) > 0 && left == nil {
				err = takenBack(ctx, err)
			}
			return errors.Join(err, left)
		}
		if o.undo != nil {
			undo = append(undo, o.undo)
		}
	}
	return nil
}

// perform runs one operation and tells the sink. An operation that was interrupted, or
// whose answer was lost, may have happened all the same: its own undo is tried.
func (e *Engine) perform(ctx context.Context, machine string, o Op) error {
	event := progress.Event{ID: machine + "/" + string(o.Action) + " " + o.Resource, Text: o.text(), Detail: o.Cause}
	if o.total > 0 {
		event.Unit, event.Total = progress.Bytes, o.total
	}
	e.Sink.Emit(event)
	// An upload that is given up may report once more, beside what follows.
	var last atomic.Int64
	begun := event
	err := o.run(ctx, e, func(sent int64) {
		last.Store(sent)
		now := begun
		now.Current = sent
		e.Sink.Emit(now)
	})
	event.Status, event.Current = progress.Done, last.Load()
	if err != nil {
		event.Status, event.Err = progress.Failed, err
		unknown := ctx.Err() != nil && errors.Is(err, ctx.Err()) || fault.Is(err, fault.Unreachable)
		if o.undo != nil && unknown {
			err = errors.Join(err, e.undo(ctx, []step{o.undo}))
		}
	}
	e.Sink.Emit(event)
	return err
}

// undo runs the steps backwards. What is gone already is as wanted.
func (e *Engine) undo(ctx context.Context, steps []step) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
	defer cancel()
	var failures []error
	for i := len(steps) - 1; i >= 0; i-- {
		err := steps[i](ctx, e)
		if errors.Is(err, errElsewhere) {
			return errors.Join(append(failures, err)...)
		}
		if fault.Is(err, fault.Unreachable) {
			// Nor will the other steps get through.
			return errors.Join(append(failures, errCutOff)...)
		}
		if err != nil && !fault.Is(err, fault.NotFound) {
			failures = append(failures, fault.New(fault.KindOf(err), "taking back what was done: %w", err).
				WithHint("vmctl down removes what is left"))
		}
	}
	return errors.Join(failures...)
}

// ended says that the caller's context has ended; nil while it has not.
func ended(ctx context.Context) error {
	switch cause := context.Cause(ctx); {
	case ctx.Err() == nil:
		return nil
	case errors.Is(cause, context.DeadlineExceeded):
		return &fault.Error{Kind: fault.Timeout, Msg: "timed out", Cause: cause}
	default:
		return &fault.Error{Kind: fault.Interrupted, Msg: "interrupted", Cause: cause}
	}
}

// takenBack says that an interruption left nothing behind, whatever call it hit.
func takenBack(ctx context.Context, err error) error {
	switch {
	case ctx.Err() == nil:
		return err
	case errors.Is(context.Cause(ctx), context.DeadlineExceeded):
		return fault.New(fault.Timeout, "timed out; what was begun has been taken back: %w", err)
	default:
		return fault.New(fault.Interrupted, "interrupted; what was begun has been taken back")
	}
}
