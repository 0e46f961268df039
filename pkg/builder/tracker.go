package builder

import (
	"fmt"
	"strings"

	"vmctl/pkg/ansi"
	"vmctl/pkg/progress"
)

// The bounds of what nix can make us remember.
const (
	maxLogLines   = 200
	maxLogs       = 64
	maxLine       = 2000
	maxActivities = 4096
	maxProblems   = 64
	maxProblem    = 64 << 10
)

var doubleQuotes = strings.NewReplacer(`'"`, `'`, `"'`, `'`)

// problem is an error that nix reported.
type problem struct {
	// text is the error alone, full what nix would have printed, trace included.
	text, full   string
	file         string
	line, column int
}

// activity is something nix is doing.
type activity struct {
	kind int
	// build is set when kind is activityBuild.
	build *buildLog
	done  int64
}

// buildLog is the log of one build, its last lines.
type buildLog struct {
	drv   string
	lines []string
	step  string
	phase string
}

func (l *buildLog) add(line string) {
	if len(l.lines) == maxLogLines {
		l.lines = append(l.lines[:0], l.lines[1:]...)
	}
	l.lines = append(l.lines, line)
	if s := step(line); s != "" {
		l.step = s
	}
}

// tracker follows one nix process through its events. It is used from one goroutine
// at a time: proc.Run promises that.
type tracker struct {
	sink progress.Sink
	ref  Ref

	activities map[uint64]*activity
	// logs are in the order in which the builds began.
	logs     []*buildLog
	problems []problem
	// plain are the last lines that were no events.
	plain []string
	// unlocked says that inputs were resolved anew, so that the same files may
	// build to something else tomorrow.
	unlocked bool

	built, builds int64
	// copies are the store paths that were begun to be copied.
	copies []string
	// expected are the bytes to copy and to download, as far as nix knows.
	expected map[int]int64
	// finished are the bytes of copies and downloads that are over.
	finished map[int]int64
	detail   string
	last     progress.Event
}

func newTracker(sink progress.Sink, ref Ref) *tracker {
	return &tracker{sink: sink, ref: ref, activities: map[uint64]*activity{},
		expected: map[int]int64{}, finished: map[int]int64{}}
}

// line takes one line of nix's stderr.
func (t *tracker) line(line string) {
	e, ok := parseEvent(line)
	if !ok {
		t.plainLine(strings.TrimSpace(ansi.Plain(line)))
		return
	}
	switch e.Action {
	case "start":
		t.start(e)
	case "stop":
		if a := t.activities[e.ID]; a != nil {
			t.finished[a.kind&0xff] += a.done
			delete(t.activities, e.ID)
		}
	case "result":
		t.result(e)
	case "msg":
		t.message(e)
	default:
		return
	}
	t.show()
}

func (t *tracker) plainLine(line string) {
	if line == "" {
		return
	}
	if len(line) > maxLine {
		line = strings.ToValidUTF8(line[:maxLine], "") + "…"
	}
	if len(t.plain) == maxLogLines {
		t.plain = append(t.plain[:0], t.plain[1:]...)
	}
	t.plain = append(t.plain, line)
	t.emitLog(line)
}

func (t *tracker) start(e event) {
	if len(t.activities) >= maxActivities {
		return
	}
	a := &activity{kind: e.Type}
	t.activities[e.ID] = a
	switch e.Type {
	case activityBuild:
		a.build = &buildLog{drv: e.text(0)}
		if len(t.logs) == maxLogs {
			t.logs = append(t.logs[:0], t.logs[1:]...)
		}
		t.logs = append(t.logs, a.build)
		t.detail = a.build.describe("")
	case activityFileTransfer:
		t.detail = "downloading " + e.text(0)
	case activityCopyPath:
		t.copies = append(t.copies, e.text(0))
		t.detail = "copying " + drvName(e.text(0))
	default:
		// Reading and evaluating has no type of its own, only a text.
		if text := ansi.Plain(e.Text); text != "" && e.Level <= 4 {
			// Some versions put a path between both kinds of quotes.
			t.detail = doubleQuotes.Replace(text)
		}
	}
}

func (t *tracker) result(e event) {
	a := t.activities[e.ID]
	if a == nil {
		return
	}
	switch e.Type {
	case resultLogLine:
		if a.build == nil {
			return
		}
		// A progress meter's carriage returns overwrite: the last state counts.
		text := strings.TrimRight(e.text(0), " \t\n")
		if len(text) > maxLine {
			text = strings.ToValidUTF8(text[:maxLine], "") + "…"
		}
		a.build.add(text)
		t.emitLog(text)
		if strings.TrimSpace(text) != "" {
			t.detail = a.build.describe(text)
		}
	case resultPhase:
		if a.build != nil {
			a.build.phase = e.text(0)
			t.detail = a.build.describe("")
		}
	case resultProgress:
		switch a.kind {
		case activityBuilds:
			t.progress(e.number(0), e.number(1))
		case activityCopyPath, activityFileTransfer:
			a.done = e.number(0)
		}
	case resultExpected:
		t.expected[int(e.number(0))&0xff] = e.number(1)
	}
}

// progress takes how many builds are done and how many there are. With the end of a
// build nix 2.34 counts it twice, until the next event.
func (t *tracker) progress(built, builds int64) {
	if more := built - t.built; more > 0 && t.builds > 0 && builds == t.builds+more {
		builds = t.builds
	}
	t.built, t.builds = built, builds
}

func (t *tracker) message(e event) {
	text := e.message()
	switch {
	case e.Level == 0 && text != "" && len(t.problems) < maxProblems:
		full := ansi.Plain(e.Msg)
		t.problems = append(t.problems, problem{
			text: clip(text, maxProblem), full: clip(full, maxProblem), file: e.File, line: e.Line, column: e.Column,
		})
	case strings.Contains(text, "not writing modified lock file"):
		t.unlocked = true
	}
	if text != "" {
		t.emitLog(firstLine(text))
	}
}

func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "")
}

// log is the log of a derivation's build.
func (t *tracker) log(drv string) []string {
	for i := len(t.logs) - 1; i >= 0; i-- {
		if t.logs[i].drv == drv {
			return t.logs[i].lines
		}
	}
	return nil
}

func (t *tracker) emitLog(line string) {
	t.sink.Emit(progress.Event{ID: t.ref.task(), Text: "build " + t.ref.subject(), Status: progress.Log, Detail: line})
}

// show tells how far nix is, when that has changed.
func (t *tracker) show() {
	e := progress.Event{ID: t.ref.task(), Text: "build " + t.ref.subject(), Status: progress.Working, Detail: t.detail}
	if e.Detail == "" {
		e.Detail = "evaluating the flake"
	}
	moved, total := t.moved()
	switch {
	case t.builds > 0:
		e.Current, e.Total = min(t.built, t.builds), t.builds
		// Of two things that go on at once the bar shows one.
		if total >= 1<<20 && t.moving() {
			e.Detail += fmt.Sprintf(" (%s of %s fetched)", mebibytes(moved), mebibytes(total))
		}
	case total > 0:
		e.Current, e.Total, e.Unit = moved, total, progress.Bytes
	}
	if e != t.last {
		t.last = e
		t.sink.Emit(e)
	}
}

// moved is how many bytes were downloaded, or else copied, and how many will be.
func (t *tracker) moved() (done, total int64) {
	for _, kind := range []int{activityFileTransfer, activityCopyPath} {
		if total := t.expected[kind]; total > 0 {
			return min(t.bytes(kind), total), total
		}
	}
	return 0, 0
}

// moving says that something is being downloaded or copied.
func (t *tracker) moving() bool {
	for _, a := range t.activities {
		if a.kind == activityFileTransfer || a.kind == activityCopyPath {
			return true
		}
	}
	return false
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1fMiB", float64(n)/(1<<20)) }

// bytes is how much of a kind has been moved.
func (t *tracker) bytes(kind int) int64 {
	sum := t.finished[kind]
	for _, a := range t.activities {
		if a.kind == kind {
			sum += a.done
		}
	}
	return sum
}

// lacksAttribute says that nix did not find the attribute.
func (t *tracker) lacksAttribute() bool {
	for _, p := range t.problems {
		if strings.Contains(p.text, "does not provide attribute") {
			return true
		}
	}
	return false
}

// cachedFailure says that nix knows only that it failed before. Of an attribute at the top
// of a flake 2.8 then says that it is no derivation.
func (t *tracker) cachedFailure() bool {
	for _, p := range t.problems {
		if strings.Contains(p.text, "cached failure of attribute") || strings.Contains(p.text, "is not a derivation") {
			return true
		}
	}
	return false
}
