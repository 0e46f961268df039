// Package ansi takes from a stream of hostile terminal output what must not reach
// a person's terminal or a log.
//
// What a guest prints is not trusted: a terminal that is shown raw bytes can be
// made to type on its user's behalf, to fill the clipboard, or to hide text. A
// Filter passes only sequences that it understood whole and that its policy
// allows; everything else disappears, so that no difference between this parser
// and a terminal's can be exploited. It knows nothing of consoles, hosts or files.
package ansi

import (
	"io"
	"unicode/utf8"
)

// policy says what passes.
type policy uint8

const (
	// text passes nothing that drives a terminal.
	text policy = iota
	// replay passes colours and cursor motion.
	replay
	// live passes what an interactive program needs.
	live
)

// phase is where in a sequence the parser stands.
type phase uint8

const (
	ground phase = iota
	// escape follows ESC.
	escape
	// control follows CSI.
	control
	// command follows OSC, whose content may be allowed.
	command
	// hidden follows DCS, SOS, PM, APC or a screen title, which never pass.
	hidden
)

// Bounds of what is kept of one sequence. A longer one is dropped.
const (
	maxControl = 256
	maxCommand = 4096
)

// Runes with a meaning here.
const (
	enq = 0x05
	bel = 0x07
	so  = 0x0e
	si  = 0x0f
	can = 0x18
	sub = 0x1a
	esc = 0x1b
	del = 0x7f
	dcs = 0x90
	sos = 0x98
	csi = 0x9b
	st  = 0x9c
	osc = 0x9d
	pm  = 0x9e
	apc = 0x9f
)

// Filter is an io.Writer that passes on what its policy allows. Its memory is
// bounded whatever is written. It is not safe for concurrent use.
type Filter struct {
	out    io.Writer
	policy policy
	phase  phase
	// seq is the body of the sequence being read; broken says that it will not pass.
	seq    []byte
	broken bool
	// part is the beginning of a rune whose end has not come yet.
	part []byte
	// lone says that a carriage return was read; col that its line has text.
	lone, col bool
	// dropReturns makes a lone carriage return disappear instead of ending the line.
	dropReturns bool
	left        left
	buf         []byte
}

// NewWriter filters for a log, a pipe or a file: text, tabs and line ends pass,
// nothing that drives a terminal. A carriage return that overwrote a line begins
// a new one instead. Call Flush at the end.
func NewWriter(out io.Writer) *Filter { return &Filter{out: out, policy: text} }

// NewReplay filters earlier output that is shown again on a raw terminal: colours
// and cursor motion pass; nothing to which a terminal would answer, and nothing
// that changes a state that cannot be seen.
func NewReplay(out io.Writer) *Filter { return &Filter{out: out, policy: replay} }

// NewLive filters an interactive console: programs work, questions to the
// terminal included, but the clipboard, the window and its title, other device
// control strings, and whatever would change how Ctrl-] arrives stay out of reach.
func NewLive(out io.Writer) *Filter { return &Filter{out: out, policy: live} }

// GoLive turns a replay filter into a live one, in the middle of a sequence if need be.
func (f *Filter) GoLive() {
	if f.policy == replay {
		f.policy = live
	}
}

// Write filters p. It reports len(p) unless the writer behind fails.
func (f *Filter) Write(p []byte) (int, error) {
	const step = 32 << 10
	for done := 0; done < len(p); done += step {
		if err := f.write(p[done:min(done+step, len(p))]); err != nil {
			return done, err
		}
	}
	return len(p), nil
}

// Flush passes on what waited for more bytes. An unfinished sequence is dropped.
func (f *Filter) Flush() error {
	part := f.part
	f.part = nil
	f.buf = f.buf[:0]
	for _, b := range part {
		f.invalid(b)
	}
	f.phase, f.lone = ground, false
	return f.emit()
}

func (f *Filter) write(p []byte) error {
	f.buf = f.buf[:0]
	for len(f.part) > 0 && len(p) > 0 {
		f.part = append(f.part, p[0])
		p = p[1:]
		for len(f.part) > 0 && utf8.FullRune(f.part) {
			f.part = f.part[f.step(f.part):]
		}
	}
	for len(p) > 0 {
		if !utf8.FullRune(p) {
			f.part = append([]byte(nil), p...)
			break
		}
		p = p[f.step(p):]
	}
	return f.emit()
}

func (f *Filter) emit() error {
	if len(f.buf) == 0 {
		return nil
	}
	_, err := f.out.Write(f.buf)
	return err
}

// step handles the first rune of p and says how long it is.
func (f *Filter) step(p []byte) int {
	r, n := utf8.DecodeRune(p)
	if r == utf8.RuneError && n == 1 {
		f.invalid(p[0])
	} else {
		f.rune(r)
	}
	return n
}

// invalid handles a byte that is no UTF-8. In text it may be a C1 control of an
// 8-bit guest; a terminal in UTF-8 would show it as a replacement character.
func (f *Filter) invalid(b byte) {
	switch {
	case f.policy == text && b >= 0x80 && b <= 0x9f:
		f.rune(rune(b))
	case f.phase == command || f.phase == hidden:
		f.broken = true
	case f.policy == text || b <= 0x9f:
		f.phase = ground
		f.print(utf8.RuneError)
	default:
		f.phase = ground
		f.buf = append(f.buf, b)
	}
}

func (f *Filter) rune(r rune) {
	switch {
	case r == esc:
		// It also ends any string, as the first half of ESC \.
		f.finish()
		f.phase = escape
	case r == can || r == sub:
		f.phase = ground
	case f.phase == command || f.phase == hidden:
		f.inString(r)
	case r >= 0x80 && r <= 0x9f:
		f.begin(r)
	case r < 0x20:
		// Terminals carry these out in the middle of a sequence, too.
		f.control(r)
	case f.phase == ground:
		f.print(r)
	case r >= del:
		if r > 0x9f {
			f.phase = ground
			f.print(r)
		}
	case f.phase == escape:
		f.inEscape(byte(r))
	default:
		f.inControl(byte(r))
	}
}

// begin enters the sequence that a C1 control opens; the others mean nothing
// that could not be written with ESC, and are dropped.
func (f *Filter) begin(r rune) {
	f.seq, f.broken = f.seq[:0], false
	switch r {
	case csi:
		f.phase = control
	case osc:
		f.phase = command
	case dcs, sos, pm, apc:
		f.phase = hidden
	default:
		f.phase = ground
	}
}

func (f *Filter) inEscape(b byte) {
	if len(f.seq) == 0 {
		switch b {
		case '[':
			f.begin(csi)
			return
		case ']':
			f.begin(osc)
			return
		case 'P', 'X', '^', '_', 'k':
			f.begin(dcs)
			return
		}
	}
	f.keep(b, maxControl)
	if b < 0x30 {
		return
	}
	if !f.broken && allowEscape(f.policy, f.seq) {
		f.pass("\x1b", "")
	}
	f.phase = ground
}

func (f *Filter) inControl(b byte) {
	f.keep(b, maxControl)
	if b < 0x40 {
		return
	}
	if !f.broken && allowControl(f.policy, f.seq) {
		f.left.note(f.seq)
		f.pass("\x1b[", "")
	}
	f.phase = ground
}

// inString reads the content of a string up to its end. The end of the line ends
// it too, unpassed: line noise that looks like the beginning of a string must not
// hide what follows.
func (f *Filter) inString(r rune) {
	switch {
	case r == bel || r == st:
		f.finish()
	case r == '\n':
		f.phase = ground
		f.control(r)
	case r < 0x20 || r >= del && r <= 0x9f:
		f.broken = true
	default:
		var enc [utf8.UTFMax]byte
		for _, b := range enc[:utf8.EncodeRune(enc[:], r)] {
			f.keep(b, maxCommand)
		}
	}
}

// finish ends a string, if one is open.
func (f *Filter) finish() {
	if f.phase == command && !f.broken && allowCommand(f.policy, f.seq) {
		f.pass("\x1b]", "\x1b\\")
	}
	f.seq, f.broken = f.seq[:0], false
	f.phase = ground
}

func (f *Filter) keep(b byte, limit int) {
	if len(f.seq) >= limit {
		f.broken = true
		return
	}
	if f.phase != hidden {
		f.seq = append(f.seq, b)
	}
}

func (f *Filter) pass(before, after string) {
	f.buf = append(f.buf, before...)
	f.buf = append(f.buf, f.seq...)
	f.buf = append(f.buf, after...)
}

func (f *Filter) control(r rune) {
	if f.policy != text {
		if allowC0(f.policy, r) {
			f.buf = append(f.buf, byte(r))
		}
		return
	}
	switch r {
	case '\n':
		f.lone, f.col = false, false
		f.buf = append(f.buf, '\n')
	case '\r':
		f.lone = !f.dropReturns
	case '\t':
		f.print(r)
	}
}

func (f *Filter) print(r rune) {
	if f.policy == text {
		if r == del || isBidi(r) {
			return
		}
		if f.lone && f.col {
			f.buf = append(f.buf, '\n')
		}
		f.lone, f.col = false, true
	} else if r == del {
		return
	}
	f.buf = utf8.AppendRune(f.buf, r)
}
