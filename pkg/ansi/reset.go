package ansi

import "bytes"

// Reset puts a terminal back into a sane state, wherever its cursor is: text
// attributes, character set, cursor, wrapping, keypad, mouse and paste reports.
// It neither clears the screen nor moves the cursor.
const Reset = "\x1b[0m\x1b(B\x0f" +
	"\x1b[?25h\x1b[0 q\x1b[?7h\x1b[?5l\x1b[4l\x1b[20l" +
	"\x1b[?1l\x1b>" +
	"\x1b[?9l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1004l\x1b[?1005l\x1b[?1006l\x1b[?1015l\x1b[?1016l" +
	"\x1b[?2004l\x1b[?2026l"

// left notes the states that a guest may have left behind and whose reset moves
// the cursor, so that they are only reset when needed.
type left struct {
	alternate, margins, origin bool
}

func (l *left) note(seq []byte) {
	final, body := seq[len(seq)-1], seq[:len(seq)-1]
	private := bytes.HasPrefix(body, []byte("?"))
	params := bytes.TrimPrefix(body, []byte("?"))
	switch {
	case final == 'r' && !private:
		l.margins = true
	case private && (final == 'h' || final == 'l'):
		for _, alternate := range []string{"47", "1047", "1049"} {
			if hasParam(params, alternate) {
				l.alternate = final == 'h'
			}
		}
		if hasParam(params, "6") {
			l.origin = final == 'h'
		}
	}
}

// Leave is what to write to the terminal when the guest's output ends: Reset, and
// what else the guest had set and not taken back.
func (f *Filter) Leave() string {
	s := ""
	if f.left.origin {
		s += "\x1b[?6l"
	}
	if f.left.margins {
		s += "\x1b7\x1b[r\x1b8"
	}
	if f.left.alternate {
		s += "\x1b[?1049l"
	}
	return s + Reset
}
