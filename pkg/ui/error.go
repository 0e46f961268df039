package ui

import (
	"errors"
	"strings"

	"vmctl/pkg/fault"
)

// Error tells a person on standard error what went wrong: "vmctl: " and the
// sentence, the details beneath, then the hint. Joined errors come one after the
// other. A message of several lines whose kind is fault.Invalid is a report with a
// form of its own (a definition's errors with their carets) and is printed as it is.
// ErrBrokenPipe prints nothing.
func Error(s *Streams, err error) {
	var b strings.Builder
	width := s.ErrWidth()
	for _, e := range split(err) {
		writeError(&b, s.errStyle(), width, e)
	}
	_, _ = s.Err.Write([]byte(b.String())) // there is nowhere left to tell
}

func writeError(b *strings.Builder, paint style, width int, err error) {
	report := message(err)
	sentence, rest, several := strings.Cut(report, "\n")
	if several && fault.KindOf(err) == fault.Invalid {
		b.WriteString(report + "\n")
	} else {
		writeWrapped(b, paint.paint(alarm, "vmctl:"), "vmctl:", oneLine(sentence), width)
		writeBeneath(b, rest) // QEMU's own words come in several lines
	}
	writeBeneath(b, details(err))
	for line := range strings.SplitSeq(clean(fault.HintOf(err)), "\n") {
		if line = oneLine(line); line != "" {
			writeWrapped(b, paint.paint(cyan, "hint:"), "hint:", line, width)
		}
	}
}

// writeBeneath writes lines below a sentence. They are logs and excerpts, which are
// easier to read and to copy when they are not broken.
func writeBeneath(b *strings.Builder, text string) {
	if text == "" {
		return
	}
	for line := range strings.SplitSeq(text, "\n") {
		b.WriteString(strings.TrimRight("  "+line, " ") + "\n")
	}
}

// writeWrapped writes label and text, broken to the terminal's width (0: never).
func writeWrapped(b *strings.Builder, painted, label, text string, width int) {
	lines := wrap(label+" "+text, width, "  ")
	lines[0] = painted + strings.TrimPrefix(lines[0], label)
	b.WriteString(strings.Join(lines, "\n") + "\n")
}

// Message is one JSON error object's content.
type Message struct {
	// Kind is the class of error: other, usage, invalid, not-found, refused,
	// unreachable, build, timeout or interrupted.
	Kind string `json:"kind"`
	// Code is the exit status that belongs to it.
	Code    int    `json:"code"`
	Message string `json:"message"`
	// Details are further lines, such as the end of a log.
	Details string `json:"details,omitempty"`
	// Hint is the next command to try.
	Hint string `json:"hint,omitempty"`
}

// ErrorJSON writes to standard error, on one line,
//
//	{"error":{"kind":"refused","code":5,"message":"…","details":"…","hint":"…"}}
//
// for scripts. Of joined errors the first gives the hint and all give the message,
// one per line. The exit code is the caller's to know.
func ErrorJSON(s *Streams, err error, code int) {
	var messages, all []string
	hint := ""
	for _, e := range split(err) {
		messages = append(messages, message(e))
		if text := details(e); text != "" {
			all = append(all, text)
		}
		if hint == "" {
			hint = clean(fault.HintOf(e))
		}
	}
	if len(messages) == 0 {
		return
	}
	_, _ = s.Err.Write(jsonLine(struct {
		Error Message `json:"error"`
	}{Message{
		Kind: KindName(fault.KindOf(err)), Code: code, Message: strings.Join(messages, "\n"),
		Details: strings.Join(all, "\n"), Hint: hint,
	}}))
}

// KindName is the kind's name in JSON.
func KindName(kind fault.Kind) string {
	switch kind {
	case fault.Usage:
		return "usage"
	case fault.Invalid:
		return "invalid"
	case fault.NotFound:
		return "not-found"
	case fault.Refused:
		return "refused"
	case fault.Unreachable:
		return "unreachable"
	case fault.Build:
		return "build"
	case fault.Timeout:
		return "timeout"
	case fault.Interrupted:
		return "interrupted"
	default:
		return "other"
	}
}

// split takes joined errors apart and drops what nobody needs to read: broken
// pipes and repetitions.
func split(err error) []error {
	var list []error
	seen := map[string]bool{}
	var walk func(error)
	walk = func(err error) {
		if err == nil || errors.Is(err, ErrBrokenPipe) && !isJoined(err) {
			return
		}
		if isJoined(err) {
			for _, inner := range err.(interface{ Unwrap() []error }).Unwrap() {
				walk(inner)
			}
			return
		}
		if text := err.Error(); !seen[text] {
			seen[text] = true
			list = append(list, err)
		}
	}
	walk(err)
	return list
}

// isJoined tells errors.Join from an error that names several causes in a sentence
// of its own.
func isJoined(err error) bool {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return false
	}
	var texts []string
	for _, inner := range joined.Unwrap() {
		if inner != nil {
			texts = append(texts, inner.Error())
		}
	}
	return len(texts) > 0 && err.Error() == strings.Join(texts, "\n")
}

// message is what the error says, made harmless.
func message(err error) string { return strings.Trim(clean(err.Error()), "\n") }

// details are the first lines that an error in the chain has to add, made harmless.
func details(err error) string {
	var detailed fault.Detailer
	for err != nil && errors.As(err, &detailed) {
		if text := strings.Trim(clean(detailed.Details()), "\n"); text != "" {
			return text
		}
		err = errors.Unwrap(detailed)
	}
	return ""
}
