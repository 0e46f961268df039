package builder

import (
	"errors"

	"vmctl/pkg/progress"
)

// shown is what a person sees of something that is done with a flake.
type shown struct {
	sink     progress.Sink
	id, text string
}

// show says that something begins: doing is "build", and where " on server", or empty.
func (b *Builder) show(ref Ref, doing, where string) shown {
	s := shown{b.sink, ref.task(), doing + " " + ref.subject() + where}
	s.emit(progress.Event{Status: progress.Working})
	return s
}

func (s shown) emit(e progress.Event) {
	e.ID, e.Text = s.id, s.text
	s.sink.Emit(e)
}

// end says how it ended: by an error, by finding that nothing has changed, or with what came
// of it. It gives the error as callers get it.
func (s shown) end(err error, cached bool, came string) error {
	var asked *askedError
	switch {
	case errors.As(err, &asked):
		s.emit(progress.Event{Status: progress.Skipped, Detail: "not begun"})
		return asked.error
	case err != nil:
		s.emit(progress.Event{Status: progress.Failed, Err: err})
	case cached:
		s.emit(progress.Event{Status: progress.Skipped, Detail: "nothing has changed"})
	default:
		s.emit(progress.Event{Status: progress.Done, Detail: came})
	}
	return err
}
