package builder

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"vmctl/pkg/fault"
	"vmctl/pkg/proc"
)

// shownLogLines is how many lines of a failed build's log a person sees.
const shownLogLines = 20

// Detailer is an error with more to show than a sentence: lines that stand between
// the sentence and the hint. They are plain text, safe for a terminal, and end
// without a line feed.
type Detailer interface {
	error
	Details() string
}

// Error is an image that nix did not build, with the first real cause in front.
type Error struct {
	// Msg is one sentence.
	Msg string
	// Drv is the derivation that failed, empty when the flake could not be evaluated.
	Drv string
	// LogTail are the last lines of its log.
	LogTail []string
	// Position is the place in the person's own files, nil when there is none.
	Position *Position
	// Points are single facts of a longer error, such as failed assertions.
	Points []string
	// Raw is everything nix said at its highest level, bounded.
	Raw string
	// Err is how the process ended.
	Err  error
	hint string
}

var (
	_ fault.Hinter = (*Error)(nil)
	_ Detailer     = (*Error)(nil)
)

func (e *Error) Error() string { return e.Msg }

// Unwrap gives how nix ended.
func (e *Error) Unwrap() error { return e.Err }

// Hint is the next command to try.
func (e *Error) Hint() string { return e.hint }

// FaultKind is always fault.Build.
func (e *Error) FaultKind() fault.Kind { return fault.Build }

// Details shows the failed assertions, the place in the source and the end of the log.
func (e *Error) Details() string {
	var b strings.Builder
	for _, point := range e.Points {
		fmt.Fprintf(&b, "- %s\n", point)
	}
	if e.Position != nil {
		b.WriteString(e.Position.String())
	}
	if len(e.LogTail) > 0 {
		fmt.Fprintf(&b, "the end of the log of %s:\n", drvName(e.Drv))
		for _, line := range e.LogTail {
			fmt.Fprintf(&b, "  | %s\n", line)
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// The ways in which versions of nix say that a build failed.
var buildFailures = []string{
	`^builder for '(?P<drv>[^']+\.drv)' (?P<why>failed[^\n;,]*)`,
	`^[Cc]annot build '(?P<drv>[^']+\.drv)'\.?\s*(?:\n\s*)?Reason: (?P<why>[^\n]*)`,
	`(?P<why>failed to produce output path) for output '[^']*' (?:at|of derivation) ['"](?P<drv>[^'"]+)['"]`,
	`(?P<why>hash mismatch) in fixed-output derivation '(?P<drv>[^']+)'`,
	`^(?:building of|build of) '(?P<drv>[^']+\.drv)(?:[!^*][^']*)?' (?P<why>(?:from .drv file )?(?:failed|timed out)[^\n;:]*)`,
}

// dependencyFailure is a build that only failed because another one did.
var dependencyFailure = regexp.MustCompile(`\d+ dependenc(?:y|ies)(?: of derivation '[^']*')? failed|some builds failed|build of '[^']*' failed$`)

// buildFailure finds the derivation in an error.
func buildFailure(text string) (drv, why string, ok bool) {
	for _, pattern := range buildFailures {
		re := regexp.MustCompile(pattern)
		if m := re.FindStringSubmatch(text); m != nil {
			// Of an output that was not made only the name says something.
			why, _, _ := strings.Cut(m[re.SubexpIndex("why")], " at ")
			return m[re.SubexpIndex("drv")], strings.TrimRight(why, " ."), true
		}
	}
	return "", "", false
}

// cause picks the first error that is not about another one.
func (t *tracker) cause() (problem, bool) {
	for _, p := range t.problems {
		if _, _, ok := buildFailure(p.text); ok && !dependencyFailure.MatchString(firstLines(p.text, 2)) {
			return p, true
		}
	}
	for _, p := range t.problems {
		if !dependencyFailure.MatchString(firstLines(p.text, 2)) && !strings.HasPrefix(p.text, "warning:") {
			return p, true
		}
	}
	if len(t.problems) > 0 {
		return t.problems[0], true
	}
	// Errors before nix's logger works, and the wrapper's or loader's own.
	for _, line := range t.plain {
		// A nix that gives up before its logger works may abort, and C++ says what of.
		line = strings.TrimSpace(strings.TrimPrefix(line, "what():"))
		if text, ok := strings.CutPrefix(line, "error: "); ok {
			return problem{text: text, full: text}, true
		}
	}
	if n := len(t.plain); n > 0 {
		return problem{text: t.plain[n-1], full: strings.Join(t.plain, "\n")}, true
	}
	return problem{}, false
}

// failure turns how nix ended into the error a person sees.
func (b *Builder) failure(ctx context.Context, ref Ref, t *tracker, err error) error {
	var failed *proc.Error
	if ctx.Err() != nil || errors.Is(err, proc.ErrNotFound) || !errors.As(err, &failed) || failed.ExitCode < 0 && failed.Signal == 0 {
		return b.processError(ctx, err)
	}
	e := &Error{Err: err}
	p, ok := t.cause()
	if p.text == "interrupted by the user" {
		return fault.New(fault.Interrupted, "the build of %s was interrupted", ref.subject())
	}
	if !ok {
		e.Msg = fmt.Sprintf("%s could not be %s: %v", ref.subject(), ref.undone(), err)
		return e.withHint("run it by hand to see more: %s build %s", b.nix, ref.Flake)
	}
	e.Raw = t.raw()
	drv, why, isBuild := buildFailure(p.text)
	if isBuild {
		e.Drv = drv
		e.LogTail = lastLines(t.log(drv), p.text)
	}
	e.Position = locate(ref, p)
	c := classify(evidence{p: p, log: e.LogTail, all: e.Raw, ref: ref, env: b.environ(), tracked: func(root, file string) bool {
		return b.tracked(ctx, root, file)
	}})
	e.Points, e.hint = c.points, c.hint
	if e.Position != nil && e.Position.path == c.file {
		e.Position = traced(ref, p, c.file)
	}
	switch {
	case c.sentence != "":
		e.Msg = fmt.Sprintf("%s could not be %s: %s", ref.subject(), ref.undone(), c.sentence)
	case isBuild:
		e.Msg = fmt.Sprintf("%s could not be %s: %s %s", ref.subject(), ref.undone(), drvName(drv), strings.TrimPrefix(why, "builder "))
	default:
		e.Msg = fmt.Sprintf("%s could not be %s: %s", ref.subject(), ref.undone(), oneSentence(p.text))
	}
	if e.Position != nil {
		e.Msg += " (" + e.Position.Place() + ")"
	}
	if e.hint == "" && isBuild {
		e.hint = "see the whole log: nix log " + drv
	}
	return e
}

func (e *Error) withHint(format string, args ...any) *Error {
	e.hint = fmt.Sprintf(format, args...)
	return e
}

// raw is all errors and the last plain lines.
func (t *tracker) raw() string {
	var b strings.Builder
	for _, p := range t.problems {
		b.WriteString(p.full)
		b.WriteByte('\n')
	}
	for _, line := range t.plain {
		b.WriteString(line)
		b.WriteByte('\n')
	}
	return clip(b.String(), maxProblem)
}

// quotedLog are log lines that newer versions put below the error themselves.
var quotedLog = regexp.MustCompile(`(?m)^\s*> (.*)$`)

// lastLines is the end of a build's log: what was seen of it, or what the error
// quotes (a build that failed earlier, or on another machine).
func lastLines(log []string, text string) []string {
	if len(log) == 0 {
		for _, m := range quotedLog.FindAllStringSubmatch(text, -1) {
			log = append(log, m[1])
		}
	}
	return log[max(0, len(log)-shownLogLines):]
}

func firstLines(text string, n int) string {
	lines := strings.SplitN(text, "\n", n+1)
	return strings.Join(lines[:min(n, len(lines))], "\n")
}

// oneSentence is the first paragraph of an error on one line, bounded.
func oneSentence(text string) string {
	paragraph, _, _ := strings.Cut(strings.TrimSpace(text), "\n\n")
	paragraph = strings.Join(strings.Fields(paragraph), " ")
	paragraph = strings.TrimSuffix(paragraph, ".")
	if len(paragraph) > 400 {
		paragraph = clip(paragraph, 400) + "…"
	}
	return paragraph
}
