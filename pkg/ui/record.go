package ui

import (
	"sync"
	"time"

	"vmctl/pkg/progress"
)

// Record is one event in JSON mode. Each is one line on standard error,
//
//	{"progress":{"time":"2026-01-02T15:04:05.123Z","id":"example/build","status":"working","text":"build images/example"}}
//
// what people are told in the end is a note, and an error at the end a line {"error":{…}}, see ErrorJSON. Fields may be
// added; those that are here keep their meaning.
type Record struct {
	// Time is when the event was seen, in UTC, by RFC 3339 with milliseconds.
	Time string `json:"time"`
	// ID names the task, or what a note or log line belongs to.
	ID string `json:"id,omitempty"`
	// Status is working, done, failed, skipped, note or log.
	Status string `json:"status"`
	// Text says what is being done, or was, or the note or log line.
	Text string `json:"text,omitempty"`
	// Detail is the present sub-step, or the result.
	Detail string `json:"detail,omitempty"`
	// Current of Total in Unit (bytes or count); all absent when nothing is counted,
	// Total also when it is unknown.
	Current *int64 `json:"current,omitempty"`
	Total   int64  `json:"total,omitempty"`
	Unit    string `json:"unit,omitempty"`
	// Seconds is the task's age when it ended.
	Seconds float64 `json:"seconds,omitempty"`
	// Error is why it failed.
	Error string `json:"error,omitempty"`
}

// recordEvery is how often a task's count is told, at most: one of bytes moves thousands of
// times in a second.
const recordEvery = 100 * time.Millisecond

// recorder writes a Record per event, but for counts that come faster than recordEvery.
type recorder struct {
	out     *holder
	verbose bool

	mu     sync.Mutex
	tasks  tasks
	closed bool
}

// recorded is what was last written of a task.
type recorded struct {
	at     time.Time
	detail string
}

func newRecorder(s *Streams, verbose bool) *recorder {
	return &recorder{out: newHolder(s), verbose: verbose}
}

// Emit implements progress.Sink.
func (r *recorder) Emit(e progress.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || e.Status == progress.Log && !r.verbose {
		return
	}
	now := time.Now()
	var t *task
	var last bool
	if e.Status != progress.Note && e.Status != progress.Log {
		var first bool
		t, first, last = r.tasks.take(e, now)
		if !first && !last && e.Detail == t.recorded.detail && now.Sub(t.recorded.at) < recordEvery {
			return
		}
		t.recorded = recorded{now, e.Detail}
	}
	record := Record{
		Time: stamp(now),
		ID:   clean(e.ID), Status: statusName(e.Status), Text: clean(e.Text), Detail: clean(e.Detail),
		Total: e.Total,
	}
	if e.Current != 0 || e.Total != 0 {
		record.Current, record.Unit = &e.Current, "count"
		if e.Unit == progress.Bytes {
			record.Unit = "bytes"
		}
	}
	if e.Err != nil {
		record.Error = clean(e.Err.Error())
	}
	if t != nil {
		record.Text = t.text
		if last {
			record.Seconds = now.Sub(t.start).Round(time.Millisecond).Seconds()
		}
	}
	r.out.write(recordLine(record))
}

func recordLine(r Record) []byte {
	return jsonLine(struct {
		Progress Record `json:"progress"`
	}{r})
}

// SayJSON writes what people are told in the end to standard error as a Record, for who reads progress as JSON.
func SayJSON(s *Streams, text string) {
	_, _ = s.Err.Write(recordLine(Record{Time: stamp(time.Now()), Status: statusName(progress.Note), Text: clean(text)}))
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func statusName(s progress.Status) string {
	switch s {
	case progress.Working:
		return "working"
	case progress.Done:
		return "done"
	case progress.Failed:
		return "failed"
	case progress.Skipped:
		return "skipped"
	case progress.Note:
		return "note"
	default:
		return "log"
	}
}

// Pause implements Progress.
func (r *recorder) Pause() { r.out.hold() }

// Resume implements Progress.
func (r *recorder) Resume() { r.out.release() }

// Close implements Progress.
func (r *recorder) Close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.out.release()
}
