package ui

import (
	"fmt"
	"strings"
)

// Control sequences, all of them in ECMA-48 or understood by every terminal since
// the VT220.
const (
	hideCursor = "\x1b[?25l"
	showCursor = "\x1b[?25h"
	eraseLine  = "\x1b[K"
	eraseBelow = "\x1b[J"
)

// region is the part of the screen that is redrawn: what it shows now, and whether
// the cursor is hidden for it.
type region struct {
	rows   []row
	hidden bool
}

// frame is what turns the present screen into the wanted one: from the region's
// first line on, each line is overwritten and its rest erased, so that nothing
// blinks. The cursor rests at the start of the region's last line, and not below it:
// a terminal that wraps its lines anew for another width keeps the cursor with the
// text it is on. What it pushed into its history thereby, nobody can take back.
func (g *region) frame(ended, rows []row, columns int) string {
	var b strings.Builder
	if len(ended) > 0 || len(rows) > 0 || len(g.rows) > 0 {
		if len(rows) > 0 && !g.hidden {
			b.WriteString(hideCursor)
			g.hidden = true
		}
		if up := occupied(g.rows, columns); up > 0 {
			fmt.Fprintf(&b, "\x1b[%dA", up)
		}
		b.WriteString("\r")
		for _, r := range ended {
			b.WriteString(r.text + eraseLine + "\r\n")
		}
		for i, r := range rows {
			if i > 0 {
				b.WriteString(eraseLine + "\r\n")
			}
			b.WriteString(r.text)
		}
		b.WriteString(eraseBelow + "\r")
	}
	if len(rows) == 0 && g.hidden {
		b.WriteString(showCursor)
		g.hidden = false
	}
	g.rows = rows
	return b.String()
}

// Abandon gives back a terminal whose progress nobody will close any more.
func Abandon(s *Streams) {
	if s.ErrTTY && !s.Dumb {
		_, _ = s.Err.Write([]byte("\r" + eraseBelow + showCursor)) // there is nowhere left to tell
	}
}

// occupied is the number of terminal lines from the first of the rows to the start
// of the last. They were made for the terminal's width at that time: when it got
// narrower since, terminals wrap them.
func occupied(rows []row, columns int) int {
	n := 0
	for i := range len(rows) - 1 {
		n += max(1, (rows[i].cells+columns-1)/columns)
	}
	return n
}
