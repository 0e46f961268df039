package spec

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"vmctl/pkg/fault"
)

// Problem is one thing that is wrong with one definition, at its place.
type Problem struct {
	// File is the definition's path as the reader should see it.
	File string `json:"file"`
	// Line and Column begin at 1 and count characters, not bytes. Line 0 means the
	// file as a whole.
	Line   int `json:"line"`
	Column int `json:"column"`
	// Path is the key, such as memory or ports[1]; empty for the file as a whole.
	Path string `json:"path,omitempty"`
	// Msg says what is wrong, Hint what to write instead.
	Msg  string `json:"message"`
	Hint string `json:"hint,omitempty"`
	// Source is the line of the file, as it is there.
	Source string `json:"source,omitempty"`
	// Width is how many characters of Source are meant, at least 1.
	Width int `json:"width,omitempty"`
}

// Error is every problem of one or more definitions, sorted by place.
type Error struct {
	Problems []Problem `json:"problems"`
}

var _ error = (*Error)(nil)

// FaultKind makes it a fault.Invalid.
func (*Error) FaultKind() fault.Kind { return fault.Invalid }

// Error is the report for people: each problem with its line and a caret.
func (e *Error) Error() string {
	var b strings.Builder
	for i, p := range e.Problems {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(p.String())
	}
	return b.String()
}

// Join makes one report of the problems in errs and joins to it whatever is not a
// report. It is nil when errs holds no error.
func Join(errs ...error) error {
	var all Error
	var others []error
	for _, err := range errs {
		var report *Error
		switch {
		case err == nil:
		case errors.As(err, &report):
			all.Problems = append(all.Problems, report.Problems...)
		default:
			others = append(others, err)
		}
	}
	if len(all.Problems) == 0 {
		return errors.Join(others...)
	}
	all.sort()
	if len(others) == 0 {
		return &all
	}
	return errors.Join(append([]error{&all}, others...)...)
}

func (e *Error) sort() {
	slices.SortStableFunc(e.Problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}
