package ui

import (
	"fmt"
	"strings"
	"time"

	"vmctl/pkg/progress"
)

// row is one line for a terminal, and the cells it takes, which its colours hide.
type row struct {
	text  string
	cells int
}

// span is a piece of a row in one colour.
type span struct{ code, text string }

// fit makes a row of at most width cells from spans, cutting at the end.
func fit(width int, more string, paint style, spans ...span) row {
	var b strings.Builder
	used := 0
	for _, s := range spans {
		text := s.text
		if cells(text) > width-used {
			text = cut(text, width-used, more)
		}
		b.WriteString(paint.paint(s.code, text))
		used += cells(text)
		if text != s.text {
			break
		}
	}
	return row{b.String(), used}
}

// leastDetail is the room below which a detail is left out.
const leastDetail = 10

// taskRow is an unfinished task:
//
//	⠋ upload base-nix-abc  ██████░░░░ 31%  96MiB of 310MiB  35MiB/s  ETA 6s  2s  the detail
//
// What does not fit is left out, least telling first: the detail, then figures,
// then the elapsed time, then the end of the text.
func taskRow(t *task, now time.Time, width int, g glyphs, paint style) row {
	elapsed := now.Sub(t.start)
	spin := g.spinner[int(elapsed/frameTime)%len(g.spinner)]
	room := width - cells(spin) - 1
	spans := []span{{cyan, spin}, {plain, " "}}

	tail := []string{""}
	clock := ""
	if elapsed >= time.Second {
		clock = "  " + Duration(elapsed)
		tail = []string{clock, ""}
	}
	var forms []string
	for _, figure := range t.figures(g) {
		forms = append(forms, "  "+figure+clock)
	}
	for _, form := range append(forms, tail...) {
		if left := room - cells(t.text) - cells(form); left >= 0 || form == "" {
			spans = append(spans, span{bold, t.text}, span{plain, form})
			if t.detail != "" && left >= 2+leastDetail {
				spans = append(spans, span{dim, "  " + t.detail})
			}
			break
		}
	}
	return fit(width, g.more, paint, spans...)
}

// endRow is a finished task: "✓ build images/example  12s  the result".
func endRow(t *task, status progress.Status, now time.Time, width int, g glyphs, paint style) row {
	sign, code, text := g.done, green, plain
	switch status {
	case progress.Failed:
		sign, code = g.failed, red
	case progress.Skipped:
		sign, code, text = g.skipped, dim, dim
	}
	spans := []span{{code, sign}, {plain, " "}, {text, t.text}}
	if elapsed := now.Sub(t.start); elapsed >= time.Second/10 && status != progress.Skipped {
		spans = append(spans, span{plain, "  " + Duration(elapsed)})
	}
	if t.detail != "" {
		spans = append(spans, span{dim, "  " + t.detail})
	}
	return fit(width, g.more, paint, spans...)
}

// textRows are a note or a log line, whole: somebody asked for it or should read it.
// The sign stands in front of the first row.
func textRows(sign span, text, code string, width int, paint style) []row {
	var rows []row
	for _, line := range wrap(text, max(width-2, 1), "") {
		rows = append(rows, fit(width, "", paint, sign, span{plain, " "}, span{code, line}))
		sign = span{plain, " "}
	}
	return rows
}

// liveRows are all unfinished tasks in at most height rows.
func liveRows(list []*task, now time.Time, width, height int, g glyphs, paint style) []row {
	height = max(height, 1)
	shown, hidden := list, 0
	if len(list) > height {
		shown, hidden = list[:height-1], len(list)-height+1
	}
	var rows []row
	for _, t := range shown {
		rows = append(rows, taskRow(t, now, width, g, paint))
	}
	if hidden > 0 {
		rows = append(rows, fit(width, g.more, paint, span{dim, fmt.Sprintf("  and %d more", hidden)}))
	}
	return rows
}
