// Package fault is the one shape of every error a person may see: a kind (which
// decides the exit code), one sentence, and the next command to try.
//
// It knows nothing of libvirt, nix or terminals, and prints nothing.
package fault

import (
	"errors"
	"fmt"
)

// Kind says what class of thing went wrong. The command line maps each kind to
// one exit code; nothing else may decide exit codes.
type Kind uint8

// The kinds, in the order of the documented exit codes.
const (
	// Other is anything that has no better kind.
	Other Kind = iota
	// Usage is a command line that cannot be understood.
	Usage
	// Invalid is a machine definition with errors in it.
	Invalid
	// NotFound is a machine, domain, volume, network or project that is not there.
	NotFound
	// Refused is something vmctl will not do unasked: foreign, busy, or would lose data.
	Refused
	// Unreachable is a host that does not answer or does not let us in.
	Unreachable
	// Build is an image that could not be built, fetched or accepted.
	Build
	// Timeout is a wait that took longer than the person allowed.
	Timeout
	// Interrupted is Ctrl-C or SIGTERM.
	Interrupted
)

// Hinter is an error that knows the next command to try.
type Hinter interface {
	error
	Hint() string
}

// Detailer is an error with more to show than its sentence: log lines, an excerpt.
type Detailer interface {
	error
	Details() string
}

// Error is one sentence about what could not be done and why, with an optional
// cause and an optional hint. The cause's text is appended after a colon.
type Error struct {
	Kind  Kind
	Msg   string
	Cause error

	hint, details string
}

var (
	_ Hinter   = (*Error)(nil)
	_ Detailer = (*Error)(nil)
)

// New makes an error of a kind from one sentence: lower case, no full stop.
// A %w verb makes its operand the cause.
func New(kind Kind, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Kind: kind, Msg: err.Error(), Cause: errors.Unwrap(err)}
}

// WithHint returns the error with the next command to try.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.hint = fmt.Sprintf(format, args...)
	return e
}

// WithDetails returns the error with lines to show beneath its sentence.
func (e *Error) WithDetails(details string) *Error {
	e.details = details
	return e
}

func (e *Error) Error() string { return e.Msg }

// Unwrap gives the cause, so that errors.Is and errors.As see through.
func (e *Error) Unwrap() error { return e.Cause }

// Hint is the next command to try, or empty.
func (e *Error) Hint() string { return e.hint }

// Details are lines to show beneath the sentence, or empty.
func (e *Error) Details() string { return e.details }

// KindOf is the kind of the outermost fault in err's chain; Other when none is.
// Of joined errors the first with a kind other than Other decides.
func KindOf(err error) Kind {
	switch e := err.(type) { //nolint:errorlint // the chain is walked by hand, joined errors included
	case nil:
		return Other
	case *Error:
		return e.Kind
	case interface{ FaultKind() Kind }:
		return e.FaultKind()
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			if kind := KindOf(inner); kind != Other {
				return kind
			}
		}
		return Other
	}
	return KindOf(errors.Unwrap(err))
}

// Is reports whether err is of the kind.
func Is(err error, kind Kind) bool { return err != nil && KindOf(err) == kind }

// HintOf is the first hint found in err's chain, or empty.
func HintOf(err error) string {
	var h Hinter
	for err != nil && errors.As(err, &h) {
		if hint := h.Hint(); hint != "" {
			return hint
		}
		err = errors.Unwrap(h)
	}
	return ""
}
