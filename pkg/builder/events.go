package builder

import (
	"encoding/json"
	"errors"
	"regexp"
	"strings"

	"vmctl/pkg/ansi"
)

// The types of nix's internal-json events that mean something to us. Every version
// adds new ones: whatever is not here is ignored
// (https://github.com/NixOS/nix/blob/master/src/libutil/include/nix/util/logging.hh).
const (
	activityCopyPath     = 100
	activityFileTransfer = 101
	activityBuilds       = 104
	activityBuild        = 105

	resultLogLine  = 101
	resultPhase    = 104
	resultProgress = 105
	resultExpected = 106
)

const eventPrefix = "@nix "

// event is one line of --log-format internal-json.
type event struct {
	Action string            `json:"action"`
	ID     uint64            `json:"id"`
	Level  int               `json:"level"`
	Type   int               `json:"type"`
	Text   string            `json:"text"`
	Fields []json.RawMessage `json:"fields"`
	Msg    string            `json:"msg"`
	RawMsg string            `json:"raw_msg"`
	File   string            `json:"file"`
	Line   int               `json:"line"`
	Column int               `json:"column"`
}

// parseEvent reads a line of stderr; false when it is plain text, which nix, git and
// ssh print in between.
func parseEvent(line string) (event, bool) {
	text, ok := strings.CutPrefix(line, eventPrefix)
	if !ok {
		return event{}, false
	}
	var e event
	err := json.Unmarshal([]byte(text), &e)
	var wrongType *json.UnmarshalTypeError
	if err != nil && !errors.As(err, &wrongType) {
		return event{}, false
	}
	return e, true
}

// number is the i-th field as a number that is not negative.
func (e event) number(i int) int64 {
	var n int64
	if i >= len(e.Fields) || json.Unmarshal(e.Fields[i], &n) != nil || n < 0 {
		return 0
	}
	return n
}

// text is the i-th field as printable text.
func (e event) text(i int) string {
	var s string
	if i >= len(e.Fields) || json.Unmarshal(e.Fields[i], &s) != nil {
		return ""
	}
	return ansi.Plain(s)
}

// message is an event of action msg as printable text. raw_msg has only the error
// itself; msg may have a whole stack above it, which ends with "error: …".
func (e event) message() string {
	if e.RawMsg != "" {
		return strings.TrimSpace(ansi.Plain(e.RawMsg))
	}
	text := ansi.Plain(e.Msg)
	if i := strings.LastIndex(text, "error: "); i >= 0 && strings.TrimSpace(text[:i]) != "" {
		text = text[i:]
	}
	// Below it stand the place and the source, which the event's own fields give better.
	if i := places.FindStringIndex(text); i != nil {
		text = text[:i[0]]
	}
	return strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(text), "error:"))
}

var places = regexp.MustCompile(`\n\s*at [^\n]*:\d+(?::\d+)?:?\s*(?:\n|$)`)
