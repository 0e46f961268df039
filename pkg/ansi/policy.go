package ansi

import "bytes"

// isBidi reports the marks, embeddings, overrides and isolates with which text can
// be made to read differently from what it is.
func isBidi(r rune) bool {
	switch {
	case r == 0x061c, r == 0x200e, r == 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
		return true
	}
	return false
}

func allowC0(p policy, r rune) bool {
	switch r {
	case 0, enq: // ENQ is answered with the user's answerback string.
		return false
	case bel, so, si:
		return p == live
	}
	return p == live || r >= '\b' && r <= '\r'
}

// allowEscape judges ESC followed by intermediates and a final byte.
func allowEscape(p policy, seq []byte) bool {
	switch {
	case len(seq) == 1:
		if p == live {
			// Z asks what the terminal is in the language of the VT52; \ ends a string
			// that was dealt with already.
			return seq[0] != 'Z' && seq[0] != '\\'
		}
		return p == replay && bytes.IndexByte([]byte("78DEM"), seq[0]) >= 0
	case len(seq) != 2:
		return false
	}
	switch seq[0] {
	case '(', ')':
		return p == live || p == replay && (seq[1] == 'B' || seq[1] == '0')
	case '*', '+', '#':
		return p == live
	}
	// % leaves UTF-8, after which text itself could hold C1 controls; space makes
	// the terminal answer in them.
	return false
}

// allowControl judges a CSI sequence: its parameters, intermediates and final byte.
func allowControl(p policy, seq []byte) bool {
	final, body := seq[len(seq)-1], seq[:len(seq)-1]
	var private byte
	if len(body) > 0 && body[0] >= '<' && body[0] <= '?' {
		private, body = body[0], body[1:]
	}
	params := body[:len(body)-len(bytes.TrimLeft(body, "0123456789:;"))]
	inter := body[len(params):]
	for _, b := range inter {
		if b < 0x20 || b > 0x2f {
			return false
		}
	}
	switch p {
	case live:
		return allowLive(private, params, inter, final)
	case replay:
		return private == 0 && len(inter) == 0 && allowReplay(params, final)
	}
	return false
}

func allowReplay(params []byte, final byte) bool {
	switch final {
	case 'J':
		// 3 erases the scrollback, which is the user's.
		return !hasParam(params, "3")
	case 'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I', 'K', 'L', 'M', 'P', 'S', 'T', 'X', 'Z',
		'@', '`', 'a', 'd', 'e', 'f', 'm':
		return true
	}
	return false
}

func allowLive(private byte, params, inter []byte, final byte) bool {
	switch {
	case len(inter) == 1 && inter[0] == '*', len(inter) == 1 && inter[0] == '\'', len(inter) == 1 && inter[0] == '&':
		// Checksums of the screen, and locators.
		return false
	case final == 't', final == 'i':
		// The window and its title; the printer.
		return false
	case final == 'm' && private == '>', final == 'u' && private != 0:
		// Keyboard protocols in which Ctrl-] is not the byte 0x1d any more: the
		// person could not leave.
		return false
	case final == 'h' && private == 0:
		// 2 locks the keyboard.
		return !hasParam(params, "2")
	case final == 'h' && private == '?':
		// Keys as records instead of bytes.
		return !hasParam(params, "9001")
	case final == 'l' && private == '?':
		// 2 makes a VT52, which reads other sequences than those judged here.
		return !hasParam(params, "2")
	}
	return true
}

// allowCommand judges the content of an OSC: hyperlinks, and on a live console
// the questions for colours by which programs tell a dark terminal from a light one.
func allowCommand(p policy, seq []byte) bool {
	if p == text {
		return false
	}
	number, rest, ok := bytes.Cut(seq, []byte(";"))
	if !ok {
		return false
	}
	switch string(number) {
	case "8":
		return true
	case "4":
		index, question, ok := bytes.Cut(rest, []byte(";"))
		return p == live && ok && len(bytes.Trim(index, "0123456789")) == 0 && string(question) == "?"
	case "10", "11", "12":
		return p == live && string(rest) == "?"
	}
	return false
}

// hasParam looks for a number among parameters; leading zeros do not hide it.
func hasParam(params []byte, number string) bool {
	for one := range bytes.FieldsFuncSeq(params, func(r rune) bool { return r == ';' || r == ':' }) {
		if string(bytes.TrimLeft(one, "0")) == number {
			return true
		}
	}
	return false
}
