package ui

import (
	"slices"
	"strings"
	"unicode"

	"vmctl/pkg/ansi"
)

// wide are the ranges of characters that take two cells: East Asian Width W and F
// of Unicode's UAX #11, and the emoji blocks whole. Where this says two for a
// character that a terminal draws in one, a line ends up shorter, never too long.
var wide = []struct{ first, last rune }{
	{0x1100, 0x115F}, {0x231A, 0x231B}, {0x2329, 0x232A}, {0x23E9, 0x23EC}, {0x23F0, 0x23F0},
	{0x23F3, 0x23F3}, {0x25FD, 0x25FE}, {0x2614, 0x2615}, {0x2630, 0x2637}, {0x2648, 0x2653},
	{0x267F, 0x267F}, {0x268A, 0x268F}, {0x2693, 0x2693}, {0x26A1, 0x26A1}, {0x26AA, 0x26AB},
	{0x26BD, 0x26BE}, {0x26C4, 0x26C5}, {0x26CE, 0x26CE}, {0x26D4, 0x26D4}, {0x26EA, 0x26EA},
	{0x26F2, 0x26F3}, {0x26F5, 0x26F5}, {0x26FA, 0x26FA}, {0x26FD, 0x26FD}, {0x2705, 0x2705},
	{0x270A, 0x270B}, {0x2728, 0x2728}, {0x274C, 0x274C}, {0x274E, 0x274E}, {0x2753, 0x2755},
	{0x2757, 0x2757}, {0x2795, 0x2797}, {0x27B0, 0x27B0}, {0x27BF, 0x27BF}, {0x2B1B, 0x2B1C},
	{0x2B50, 0x2B50}, {0x2B55, 0x2B55}, {0x2E80, 0x303E}, {0x3041, 0x4DBF}, {0x4DC0, 0xA4CF},
	{0xA960, 0xA97C}, {0xAC00, 0xD7A3}, {0xF900, 0xFAFF}, {0xFE10, 0xFE19}, {0xFE30, 0xFE6F},
	{0xFF01, 0xFF60}, {0xFFE0, 0xFFE6}, {0x16FE0, 0x1B2FB}, {0x1D300, 0x1D376}, {0x1F004, 0x1F004},
	{0x1F0CF, 0x1F0CF}, {0x1F18E, 0x1F18E}, {0x1F191, 0x1F19A}, {0x1F1E6, 0x1F265}, {0x1F300, 0x1F64F},
	{0x1F680, 0x1F6FF}, {0x1F7E0, 0x1F7F0}, {0x1F900, 0x1F9FF}, {0x1FA70, 0x1FAFF}, {0x20000, 0x3FFFD},
}

// runeWidth is the number of cells a character takes: 0, 1 or 2.
func runeWidth(r rune) int {
	switch {
	case r < 0x20, r == 0x7F:
		return 0
	case r < 0x300:
		if r >= 0x80 && r < 0xA0 {
			return 0
		}
		return 1
	case r == 0xFE0F:
		return 1 // makes the emoji before it wide
	case r >= 0x1160 && r <= 0x11FF, unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0 // the vowels and finals of a Hangul syllable, and all combining marks
	}
	_, found := slices.BinarySearchFunc(wide, r, func(span struct{ first, last rune }, r rune) int {
		switch {
		case span.last < r:
			return -1
		case span.first > r:
			return 1
		}
		return 0
	})
	if found {
		return 2
	}
	return 1
}

// cells is the number of terminal cells a line of clean text takes.
func cells(s string) int {
	n := 0
	for _, r := range s {
		n += runeWidth(r)
	}
	return n
}

// cut makes a line of clean text fit into width cells, ending what it had to
// shorten with more ("…"). Combining marks stay with their character.
func cut(s string, width int, more string) string {
	if width <= 0 {
		return ""
	}
	if len(s) <= width || cells(s) <= width {
		return s
	}
	room := width - cells(more)
	if room < 0 {
		room, more = width, ""
	}
	used := 0
	for i, r := range s {
		w := runeWidth(r)
		if used+w > room {
			return s[:i] + more
		}
		used += w
	}
	return s
}

// wrap breaks clean text at spaces into lines of at most width cells; all but the
// first begin with indent. A word longer than a line is broken; width 0 breaks nothing.
func wrap(s string, width int, indent string) []string {
	if width <= 0 || cells(s) <= width {
		return []string{s}
	}
	if cells(indent) > width/2 {
		indent = ""
	}
	var lines []string
	var line strings.Builder
	used, empty := 0, true
	next := func() {
		lines = append(lines, line.String())
		line.Reset()
		line.WriteString(indent)
		used, empty = cells(indent), true
	}
	for word := range strings.FieldsSeq(s) {
		if !empty && used+1+cells(word) > width {
			next()
		}
		if !empty {
			line.WriteByte(' ')
			used++
		}
		empty = false
		for _, r := range word {
			w := runeWidth(r)
			if used+w > width && !empty {
				next()
			}
			line.WriteRune(r)
			used += w
			empty = false
		}
	}
	return append(lines, line.String())
}

// clean makes text from outside harmless and keeps its line breaks.
func clean(s string) string { return ansi.Plain(s) }

// oneLine makes text from outside harmless and one line: runs of blanks and line
// breaks become single spaces.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r' || r == '\u2028' || r == '\u2029':
			return ' '
		case unicode.IsControl(r):
			return -1
		}
		return r
	}, clean(s))
	return strings.TrimSpace(s)
}
