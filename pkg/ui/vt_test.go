package ui

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// screen is a terminal small enough to trust: it knows the sequences that the
// display may use and calls everything else a mistake. Rows scroll up into history.
type screen struct {
	mu            sync.Mutex
	columns, rows int
	lines         []string // history and screen; a line is at most columns cells
	top           int      // the first line that is still on the screen
	x, y          int      // y counts from the first line of all
	hidden        bool
	writes        int
	mistakes      []string
}

func newScreen(columns, rows int) *screen {
	return &screen{columns: columns, rows: rows, lines: []string{""}}
}

func (s *screen) mistake(format string, args ...any) {
	s.mistakes = append(s.mistakes, fmt.Sprintf(format, args...))
}

func (s *screen) size(int) (int, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.columns, s.rows
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	for rest := p; len(rest) > 0; {
		if rest[0] == 0x1b {
			rest = rest[s.sequence(rest):]
			continue
		}
		r, n := utf8.DecodeRune(rest)
		s.put(r)
		rest = rest[n:]
	}
	return len(p), nil
}

func (s *screen) sequence(p []byte) int {
	end := 2
	for end < len(p) && (p[end] < 0x40 || p[end] > 0x7e) {
		end++
	}
	if len(p) < 3 || p[1] != '[' || end == len(p) {
		s.mistake("not a control sequence: %q", p)
		return len(p)
	}
	params := string(p[2:end])
	switch final := p[end]; {
	case final == 'm':
	case final == 'A':
		n, _ := strconv.Atoi(params)
		if s.y-n < s.top {
			s.mistake("cursor up %d from screen line %d", n, s.y-s.top)
		}
		s.y = max(s.y-n, s.top)
	case final == 'K' && params == "":
		s.lines[s.y] = cut(s.lines[s.y], s.x, "")
	case final == 'J' && params == "":
		s.lines[s.y] = cut(s.lines[s.y], s.x, "")
		for y := s.y + 1; y < len(s.lines); y++ {
			s.lines[y] = ""
		}
	case string(p[2:end+1]) == "?25l":
		s.hidden = true
	case string(p[2:end+1]) == "?25h":
		s.hidden = false
	default:
		s.mistake("unknown sequence %q", p[:end+1])
	}
	return end + 1
}

func (s *screen) put(r rune) {
	switch {
	case r == '\r':
		s.x = 0
		return
	case r == '\n':
		s.y++
		if s.y == len(s.lines) {
			s.lines = append(s.lines, "")
		}
		s.top = max(s.top, s.y-s.rows+1)
		return
	case r < 0x20 || r >= 0x7f && r < 0xa0 || r == utf8.RuneError:
		s.mistake("control character %U", r)
		return
	}
	w := runeWidth(r)
	if s.x+w >= s.columns && s.columns > 1 {
		s.mistake("%q touches the last column of line %d", r, s.y)
	}
	line := s.lines[s.y]
	head := cut(line, s.x, "")
	head += strings.Repeat(" ", s.x-cells(head))
	tail := ""
	if over := cut(line, s.x+w, ""); len(over) < len(line) && cells(line) > s.x+w {
		tail = line[len(over):]
	}
	if w > 0 || tail == "" {
		s.lines[s.y] = head + string(r) + tail
	}
	s.x += w
}

// resize makes the terminal as wide as columns and wraps what is longer, as most
// terminals do. Lines once wrapped stay so; the tests need no more.
func (s *screen) resize(columns int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.columns = columns
	var lines []string
	y := s.y
	for i, line := range s.lines {
		if i == s.y {
			y = len(lines)
		}
		for cells(line) > columns {
			head := cut(line, columns, "")
			lines, line = append(lines, head), line[len(head):]
		}
		lines = append(lines, line)
	}
	s.lines, s.y = lines, y
	s.top = max(0, s.y-s.rows+1)
}

// String is everything the terminal ever showed and still has, and the cursor.
func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for y, line := range s.lines {
		if y > s.y && strings.TrimSpace(line) == "" {
			continue
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	state := "shown"
	if s.hidden {
		state = "hidden"
	}
	fmt.Fprintf(&b, "[cursor %s at line %d column %d]\n", state, s.y, s.x)
	for _, m := range s.mistakes {
		b.WriteString("MISTAKE: " + m + "\n")
	}
	return b.String()
}
