package ui

import (
	"vmctl/pkg/fault"
	"vmctl/pkg/progress"
)

// Mode is a way to show progress.
type Mode uint8

// The modes.
const (
	// ModeAuto is ModeTTY on a terminal that can, else ModePlain.
	ModeAuto Mode = iota
	// ModeTTY redraws a few lines at the bottom of the terminal.
	ModeTTY
	// ModePlain writes a line when a task starts, ends, and now and then between.
	ModePlain
	// ModeJSON writes one JSON object per event; see Record.
	ModeJSON
	// ModeQuiet shows nothing.
	ModeQuiet
)

// Modes are the words ParseMode knows.
const Modes = "auto, tty, plain, json or quiet"

// ParseMode reads the value of --progress; an empty one is auto.
func ParseMode(word string) (Mode, error) {
	switch word {
	case "auto", "":
		return ModeAuto, nil
	case "tty":
		return ModeTTY, nil
	case "plain":
		return ModePlain, nil
	case "json":
		return ModeJSON, nil
	case "quiet":
		return ModeQuiet, nil
	}
	return ModeAuto, fault.New(fault.Usage, "%q is no way to show progress", word).
		WithHint("--progress takes %s", Modes)
}

// Progress shows events on standard error. All methods may be called from several
// goroutines.
type Progress interface {
	progress.Sink
	// Pause takes everything unfinished off the terminal and keeps it free, for the
	// console or a question; events go on being counted. Resume shows them again.
	Pause()
	Resume()
	// Close shows what is finished, takes the rest off the terminal and ends the
	// display's goroutine; later events are dropped. Close before writing an error
	// or a result. It may be called more than once.
	Close()
}

// NewProgress starts a display of the mode. Raw lines of subprocesses (Log events)
// are shown only when verbose.
func NewProgress(s *Streams, mode Mode, verbose bool) Progress {
	if mode == ModeAuto {
		mode = ModePlain
		if s.ErrTTY && !s.Dumb {
			mode = ModeTTY
		}
	}
	switch mode {
	case ModeTTY:
		return newLive(s, verbose)
	case ModeJSON:
		return newRecorder(s, verbose)
	case ModeQuiet:
		return quiet{}
	default:
		return newLines(s, verbose)
	}
}

// quiet shows nothing: failures reach the caller as errors.
type quiet struct{}

func (quiet) Emit(progress.Event) {}
func (quiet) Pause()              {}
func (quiet) Resume()             {}
func (quiet) Close()              {}
