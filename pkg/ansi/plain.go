package ansi

import (
	"bytes"
	"strings"
)

// Plain is s as text that is safe to print: escape sequences, control characters
// other than line feed and tab, and bidirectional controls are removed; what is
// not UTF-8 becomes U+FFFD.
func Plain(s string) string {
	clean := true
	for i := range len(s) {
		if b := s[i]; (b < 0x20 && b != '\n' && b != '\t') || b >= del {
			clean = false
			break
		}
	}
	if clean {
		return s
	}
	var out bytes.Buffer
	f := NewWriter(&out)
	f.dropReturns = true
	_, _ = f.Write([]byte(s)) // a bytes.Buffer never fails
	_ = f.Flush()
	return out.String()
}

// Line is Plain in one line, so that it forges no other one.
func Line(s string) string { return strings.ReplaceAll(Plain(s), "\n", " ") }
