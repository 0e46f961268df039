package ui

import (
	"fmt"
	"strings"
	"time"

	"vmctl/pkg/progress"
)

// task is what a display remembers of one task.
type task struct {
	id, text, detail string
	start            time.Time
	current, total   int64
	unit             progress.Unit
	speed            speed
	plain            plainMarks
	recorded         recorded
}

// take brings the task up to date with an event of its own.
func (t *task) take(e progress.Event) {
	if text := oneLine(e.Text); text != "" {
		t.text = text
	}
	if t.text == "" {
		t.text = oneLine(e.ID)
	}
	t.detail = oneLine(e.Detail)
	t.current, t.total, t.unit = max(e.Current, 0), max(e.Total, 0), e.Unit
}

// percent is how much is done, or -1 when the total is unknown. It says 100 only
// when all is there.
func (t *task) percent() int {
	if t.total <= 0 {
		return -1
	}
	return int(float64(min(t.current, t.total)) / float64(t.total) * 100)
}

// tasks are the unfinished tasks in the order in which they began.
type tasks struct{ list []*task }

// take applies an event of a task. It gives the task, whether this was its first
// event, and whether it was its last, after which it is forgotten.
func (ts *tasks) take(e progress.Event, now time.Time) (t *task, first, last bool) {
	at := -1
	for i, known := range ts.list {
		if known.id == e.ID {
			at, t = i, known
		}
	}
	last = e.Status != progress.Working
	if t == nil {
		t, first = &task{id: e.ID, start: now}, true
		if !last {
			ts.list = append(ts.list, t)
		}
	} else if last {
		ts.list = append(ts.list[:at:at], ts.list[at+1:]...)
	}
	t.take(e)
	return t, first, last
}

// sentence is the text of a Note or a Log.
func sentence(e progress.Event) string {
	text, detail := oneLine(e.Text), oneLine(e.Detail)
	if text == "" || detail == "" {
		return text + detail
	}
	return text + ": " + detail
}

// figures are the numbers of a task, the most telling form first and the shortest
// last; none when there is nothing to count. Without glyphs there is no bar.
func (t *task) figures(g glyphs) []string {
	switch {
	case t.total <= 0 && t.current <= 0:
		return nil
	case t.unit == progress.Count && t.total <= 0:
		return []string{fmt.Sprint(t.current)}
	case t.unit == progress.Count:
		return []string{fmt.Sprintf("%d of %d", t.current, t.total), fmt.Sprintf("%d/%d", t.current, t.total)}
	}
	rate := t.speed.perSecond()
	speed := ""
	if rate > 0 {
		speed = "  " + Rate(rate)
	}
	if t.total <= 0 {
		return []string{Bytes(t.current) + speed, Bytes(t.current)}
	}
	percent := fmt.Sprintf("%d%%", t.percent())
	amount := Bytes(t.current) + " of " + Bytes(t.total)
	eta := ""
	if text := ETA(t.total-t.current, rate); text != "" {
		eta = "  " + text
	}
	forms := []string{percent + "  " + amount + speed + eta, percent + eta, percent}
	if g.full == "" {
		return forms
	}
	drawn := bar(t.percent(), g) + " " + percent
	return append([]string{drawn + "  " + amount + speed + eta, drawn + speed + eta}, forms...)
}

func bar(percent int, g glyphs) string {
	const length = 20
	filled := min(percent*length/100, length)
	var text strings.Builder
	for i := range length {
		if i < filled {
			text.WriteString(g.full)
		} else {
			text.WriteString(g.empty)
		}
	}
	return text.String()
}
