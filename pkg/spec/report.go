package spec

import (
	"fmt"
	"strings"
	"unicode"
)

// A report never shows more of a line than this; a longer one is cut around the caret.
const shownColumns = 100

// String is the problem as people see it: place and sentence, the line, a caret
// below what is meant, and the hint. It ends without a line break. Whatever the
// file holds, it contains no control characters but line breaks.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(visible(p.File))
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	b.WriteString(": ")
	if p.Path != "" {
		b.WriteString(visible(p.Path) + ": ")
	}
	b.WriteString(visible(p.Msg))
	if p.Line > 0 && strings.TrimSpace(p.Source) != "" {
		number := fmt.Sprintf("%5d", p.Line)
		text, before, width := excerpt(p.Source, p.Column, p.Width)
		fmt.Fprintf(&b, "\n%s | %s", number, text)
		fmt.Fprintf(&b, "\n%s | %s%s", strings.Repeat(" ", len(number)), strings.Repeat(" ", before), strings.Repeat("^", width))
	}
	if p.Hint != "" {
		b.WriteString("\n      hint: " + visible(p.Hint))
	}
	return b.String()
}

// excerpt is a source line made fit for a terminal: tabs expanded, control
// characters spelt out, cut to the neighbourhood of the caret; with how many
// terminal columns come before the caret and how many it covers.
func excerpt(source string, column, width int) (text string, before, covered int) {
	runes := []rune(source)
	start := min(max(column-1, 0), len(runes))
	end := min(start+max(width, 1), len(runes))

	first, last := 0, len(runes)
	if len(runes) > shownColumns {
		first = max(0, min(start-shownColumns/3, len(runes)-shownColumns))
		last = min(len(runes), first+shownColumns)
		end = min(end, last)
	}
	var b strings.Builder
	used := 0
	if first > 0 {
		b.WriteString("…")
		used = 1
	}
	for i, r := range runes[first:last] {
		if first+i == start {
			before = used
		}
		shown := visible(string(r))
		if r == '\t' {
			shown = strings.Repeat(" ", 4-used%4)
		}
		b.WriteString(shown)
		for _, s := range shown {
			used += columns(s)
		}
		if first+i == end-1 {
			covered = used - before
		}
	}
	if start >= last {
		before, covered = used, 1
	}
	if last < len(runes) {
		b.WriteString("…")
	}
	return b.String(), before, max(covered, 1)
}

// visible spells out what a terminal would obey or hide: control characters,
// invisible ones and those that turn the direction of text.
func visible(s string) string {
	s = strings.ToValidUTF8(s, "\ufffd")
	if strings.IndexFunc(s, unshowable) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\t':
			b.WriteByte(' ')
		case !unshowable(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

func unshowable(r rune) bool { return r != ' ' && !unicode.IsPrint(r) }

// columns is how many terminal columns a printable character takes.
func columns(r rune) int {
	switch {
	case unicode.In(r, unicode.Mn, unicode.Me):
		return 0
	case r >= 0x1100 && r <= 0x115f, r >= 0x2e80 && r <= 0x303e, r >= 0x3041 && r <= 0x33ff,
		r >= 0x3400 && r <= 0x4dbf, r >= 0x4e00 && r <= 0xa4cf, r >= 0xa960 && r <= 0xa97f,
		r >= 0xac00 && r <= 0xd7a3, r >= 0xf900 && r <= 0xfaff, r >= 0xfe30 && r <= 0xfe6f,
		r >= 0xff00 && r <= 0xff60, r >= 0xffe0 && r <= 0xffe6,
		r >= 0x1f300 && r <= 0x1f64f, r >= 0x1f680 && r <= 0x1f6ff, r >= 0x1f900 && r <= 0x1f9ff,
		r >= 0x20000 && r <= 0x3fffd:
		return 2
	default:
		return 1
	}
}

// quote is foreign text in quotes, spelt out where needed and cut when long.
func quote(s string) string {
	const most = 60
	if runes := []rune(s); len(runes) > most {
		return fmt.Sprintf("%q", string(runes[:most])+"…")
	}
	return fmt.Sprintf("%q", s)
}
