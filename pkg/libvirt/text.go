package libvirt

import (
	"strconv"
	"strings"
	"unicode"
)

// maxText bounds what a host may put into one sentence.
const maxText = 1000

// printable makes a foreign message one line without control characters, direction
// marks and the like: it may end on a terminal.
func printable(s string) string {
	s = strings.ToValidUTF8(s, "�")
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029':
			return -1
		}
		return r
	}, s)
	s = strings.TrimRight(strings.Join(strings.Fields(s), " "), ". ")
	if runes := []rune(s); len(runes) > maxText {
		s = string(runes[:maxText]) + "…"
	}
	return s
}

// quote shows a foreign word so that nothing in it can deceive.
func quote(s string) string { return strconv.QuoteToGraphic(s) }

// quoteName shows a name bare where nothing in it needs quoting.
func quoteName(s string) string {
	if q := quote(s); q != `"`+s+`"` || strings.ContainsAny(s, " ") || s == "" {
		return q
	}
	return s
}
