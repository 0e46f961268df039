package ui

import (
	"fmt"
	"sync"
	"time"

	"vmctl/pkg/progress"
)

// frameTime is the time between two frames: fast enough to look alive, slow enough
// for a serial line.
const frameTime = 100 * time.Millisecond

// live shows unfinished tasks in a region at the bottom of the terminal and lets
// finished ones, notes and logs scroll up above it.
type live struct {
	streams *Streams
	verbose bool
	glyphs  glyphs
	paint   style

	// mu guards what Emit touches. It is never held while the terminal is written
	// to, so that a stopped terminal (Ctrl-S) does not stop the work.
	mu      sync.Mutex
	tasks   tasks
	ended   []finished // not yet on the screen
	dropped int

	// drawing guards the screen. Taken before mu.
	drawing sync.Mutex
	region  region

	// running guards the loop's coming and going. Taken before drawing.
	running sync.Mutex
	closed  bool
	stop    chan struct{} // nil while no loop runs
	stopped chan struct{}
}

// finished is something that shall scroll up. It becomes rows when it is drawn,
// because only then the width is known.
type finished struct {
	task   *task
	status progress.Status
	text   string // of Note and Log
	at     time.Time
}

// mostEnded bounds what waits for a terminal that takes nothing.
const mostEnded = 10000

func newLive(s *Streams, verbose bool) *live {
	l := &live{streams: s, verbose: verbose, glyphs: s.glyphs(), paint: s.errStyle()}
	l.start()
	return l
}

// Emit implements progress.Sink. It shows nothing by itself; the next frame does.
func (l *live) Emit(e progress.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	f := finished{status: e.Status, at: now}
	switch e.Status {
	case progress.Log:
		if !l.verbose {
			return
		}
		f.text = sentence(e)
	case progress.Note:
		f.text = sentence(e)
	default:
		t, _, last := l.tasks.take(e, now)
		t.speed.add(now, t.current)
		if !last {
			return
		}
		f.task = t
	}
	if len(l.ended) >= mostEnded && e.Status == progress.Log {
		l.dropped++
		return
	}
	l.ended = append(l.ended, f)
}

// Pause implements Progress.
func (l *live) Pause() {
	l.running.Lock()
	defer l.running.Unlock()
	if l.stop != nil {
		l.halt()
		l.draw(true)
	}
}

// Resume implements Progress.
func (l *live) Resume() {
	l.running.Lock()
	defer l.running.Unlock()
	if !l.closed && l.stop == nil {
		l.start()
	}
}

// Close implements Progress.
func (l *live) Close() {
	l.running.Lock()
	defer l.running.Unlock()
	if l.closed {
		return
	}
	l.closed = true
	if l.stop != nil {
		l.halt()
	}
	l.draw(true)
}

func (l *live) start() {
	l.stop, l.stopped = make(chan struct{}), make(chan struct{})
	go l.loop(l.stop, l.stopped)
}

func (l *live) halt() {
	close(l.stop)
	<-l.stopped
	l.stop = nil
}

func (l *live) loop(stop <-chan struct{}, stopped chan<- struct{}) {
	defer close(stopped)
	ticker := time.NewTicker(frameTime)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
			l.draw(false)
		}
	}
}

// draw brings the screen up to date with one single write; last takes the region
// off it and shows the cursor again.
func (l *live) draw(last bool) {
	l.drawing.Lock()
	defer l.drawing.Unlock()
	columns, lines := l.streams.measure(2)
	// A character in the last column leaves the cursor in a state in which terminals
	// disagree what "erase to the end of the line" erases.
	width := max(columns-1, 1)

	l.mu.Lock()
	now := time.Now()
	ended := l.endedRows(width)
	var rows []row
	if !last {
		for _, t := range l.tasks.list {
			t.speed.add(now, t.current)
		}
		// One line is left for what scrolls up.
		rows = liveRows(l.tasks.list, now, width, lines-1, l.glyphs, l.paint)
	}
	l.mu.Unlock()

	if frame := l.region.frame(ended, rows, columns); frame != "" {
		_, _ = l.streams.Err.Write([]byte(frame)) // nobody is left to read it
	}
}

// endedRows are the rows that shall scroll up, taken out of the queue. mu is held.
func (l *live) endedRows(width int) []row {
	var rows []row
	for _, f := range l.ended {
		switch f.status {
		case progress.Note:
			rows = append(rows, textRows(span{yellow, l.glyphs.note}, f.text, plain, width, l.paint)...)
		case progress.Log:
			rows = append(rows, textRows(span{plain, " "}, f.text, dim, width, l.paint)...)
		default:
			rows = append(rows, endRow(f.task, f.status, f.at, width, l.glyphs, l.paint))
		}
	}
	if l.dropped > 0 {
		text := fmt.Sprintf("  %d lines left out", l.dropped)
		rows = append(rows, fit(width, l.glyphs.more, l.paint, span{dim, text}))
	}
	l.ended, l.dropped = nil, 0
	return rows
}
