package ui

import (
	"cmp"
	"fmt"
	"sync"
	"time"

	"vmctl/pkg/progress"
)

// plainMarks is when and at how much a task was last reported, and whether at all.
type plainMarks struct {
	begun   bool
	at      time.Time
	wait    time.Duration
	percent int
}

// quick is how long a task may take to be one line instead of two.
const quick = time.Second

// How often a long task is reported: after 10 s, then ever less, but at least once a
// minute, so that a CI log neither fills up nor falls silent.
const (
	firstReport = 10 * time.Second
	rarest      = time.Minute
	// reportPercent is how much must have been done since the last report, unless it
	// is older than rarest.
	reportPercent = 10
)

// lines writes plain lines: for pipes, logs and terminals that can do nothing else.
// It writes ASCII of its own and no control sequence.
type lines struct {
	out     *holder
	verbose bool

	mu     sync.Mutex
	tasks  tasks
	closed bool

	stop, stopped chan struct{}
}

func newLines(s *Streams, verbose bool) *lines {
	l := &lines{out: newHolder(s), verbose: verbose, stop: make(chan struct{}), stopped: make(chan struct{})}
	go l.loop()
	return l
}

// Emit implements progress.Sink.
func (l *lines) Emit(e progress.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	now := time.Now()
	switch e.Status {
	case progress.Log:
		if l.verbose {
			l.print("  %s", sentence(e))
		}
		return
	case progress.Note:
		l.print("note: %s", sentence(e))
		return
	}
	t, first, last := l.tasks.take(e, now)
	t.speed.add(now, t.current)
	switch {
	case last:
		l.print("%s: %s", t.text, outcome(t, e.Status, now, first))
	case first:
		t.plain = plainMarks{at: now, wait: firstReport}
	}
}

// begin announces a task that turns out not to be a quick one.
func (l *lines) begin(t *task) {
	t.plain.begun = true
	l.print("%s%s", t.text, suffix(": ", t.detail))
}

// outcome is how a task ended, and after what time unless nobody saw it begin.
func outcome(t *task, status progress.Status, now time.Time, unseen bool) string {
	word, joint := "done", " in "
	if status == progress.Done && !t.plain.begun {
		return cmp.Or(t.detail, word)
	}
	switch status {
	case progress.Failed:
		word, joint = "failed", " after "
	case progress.Skipped:
		if t.detail != "" {
			return t.detail
		}
		return "nothing to do"
	}
	if !unseen {
		word += joint + Duration(now.Sub(t.start))
	}
	return word + suffix(": ", t.detail)
}

func suffix(joint, text string) string {
	if text == "" {
		return ""
	}
	return joint + text
}

func (l *lines) print(format string, args ...any) {
	l.out.write(fmt.Appendf(nil, format+"\n", args...))
}

// loop reports long tasks, also those that say nothing.
func (l *lines) loop() {
	defer close(l.stopped)
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-ticker.C:
			l.report()
		}
	}
}

func (l *lines) report() {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	for _, t := range l.tasks.list {
		t.speed.add(now, t.current)
		if !t.plain.begun && now.Sub(t.start) >= quick {
			l.begin(t)
		}
		since, percent := now.Sub(t.plain.at), t.percent()
		if since < t.plain.wait || percent >= 0 && percent < t.plain.percent+reportPercent && since < rarest {
			continue
		}
		t.plain = plainMarks{begun: true, at: now, wait: min(2*t.plain.wait, rarest), percent: max(percent, 0)}
		figures := ""
		if forms := t.figures(glyphs{}); len(forms) > 0 {
			figures = forms[0] + ", "
		}
		l.print("%s: %s%s%s", t.text, figures, Duration(now.Sub(t.start))+" so far", suffix(": ", t.detail))
	}
}

// Pause implements Progress.
func (l *lines) Pause() { l.out.hold() }

// Resume implements Progress.
func (l *lines) Resume() { l.out.release() }

// Close implements Progress.
func (l *lines) Close() {
	l.mu.Lock()
	first := !l.closed
	l.closed = true
	for _, t := range l.tasks.list {
		if !t.plain.begun {
			l.begin(t)
		}
	}
	l.mu.Unlock()
	if first {
		close(l.stop)
	}
	<-l.stopped
	l.out.release()
}
