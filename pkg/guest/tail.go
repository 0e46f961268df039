package guest

import (
	"regexp"
	"slices"
	"strings"

	"vmctl/pkg/ansi"
)

// tail keeps the end of what a console printed, without control sequences.
type tail struct {
	text []byte
	// pattern is looked for in all that is printed; matched says that it was found.
	pattern *regexp.Regexp
	matched bool
}

const (
	tailBytes = 64 << 10
	tailLines = 10
)

func (t *tail) Write(p []byte) (int, error) {
	for part := range slices.Chunk(p, tailBytes/2) {
		t.take(part)
	}
	return len(p), nil
}

func (t *tail) take(p []byte) {
	t.text = append(t.text, p...)
	if extra := len(t.text) - tailBytes; extra > 0 {
		t.text = append(t.text[:0], t.text[extra:]...)
	}
	if t.pattern != nil && !t.matched {
		t.matched = t.pattern.MatchString(t.said())
	}
}

func (t *tail) all() []string {
	return strings.Split(strings.ReplaceAll(ansi.Plain(string(t.text)), "\r", ""), "\n")
}

// said is all that is kept, as lines.
func (t *tail) said() string { return strings.Join(t.all(), "\n") }

// last is the line that the cursor is on.
func (t *tail) last() string {
	all := t.all()
	return all[len(all)-1]
}

// lines are the last ones that say something.
func (t *tail) lines() []string {
	var said []string
	for _, line := range t.all() {
		if strings.TrimSpace(line) != "" {
			said = append(said, strings.TrimRight(line, " "))
		}
	}
	return said[max(0, len(said)-tailLines):]
}
