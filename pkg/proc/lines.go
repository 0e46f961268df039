package proc

import "bytes"

// splitter cuts a stream into lines of bounded length. It is an io.Writer that
// never fails; flush ends the last line.
type splitter struct {
	max  int
	cr   bool
	emit func(string)
	line []byte
	// begun tells an empty line from no line at all.
	begun bool
	// afterCR swallows the \n of a \r\n when \r has ended the line already.
	afterCR bool
}

func (s *splitter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if s.afterCR {
			s.afterCR = false
			if p[0] == '\n' {
				p = p[1:]
				continue
			}
		}
		i := s.end(p)
		if i < 0 {
			s.add(p)
			break
		}
		s.add(p[:i])
		s.afterCR = p[i] == '\r'
		s.finish()
		p = p[i+1:]
	}
	return n, nil
}

func (s *splitter) end(p []byte) int {
	if s.cr {
		return bytes.IndexAny(p, "\r\n")
	}
	return bytes.IndexByte(p, '\n')
}

func (s *splitter) add(p []byte) {
	s.begun = s.begun || len(p) > 0
	if room := s.max - len(s.line); room < len(p) {
		p = p[:max(room, 0)]
	}
	s.line = append(s.line, p...)
}

func (s *splitter) finish() {
	s.emit(string(bytes.TrimSuffix(s.line, []byte("\r"))))
	s.line, s.begun = s.line[:0], false
}

// flush emits what has no line end yet.
func (s *splitter) flush() {
	if s.begun {
		s.finish()
	}
}

// tail keeps the end of a stream.
type tail struct {
	max int
	buf []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.buf = append(t.buf, p...)
	// Cutting at twice the size makes the copying rare.
	if len(t.buf) > 2*t.max {
		t.buf = append(t.buf[:0], t.buf[len(t.buf)-t.max:]...)
	}
	return len(p), nil
}

func (t *tail) String() string { return string(t.buf[max(len(t.buf)-t.max, 0):]) }

// head keeps the beginning of a stream and knows when there was more.
type head struct {
	max  int
	buf  []byte
	over bool
}

func (h *head) Write(p []byte) (int, error) {
	room := h.max - len(h.buf)
	if len(p) > room {
		h.over = true
	}
	h.buf = append(h.buf, p[:min(room, len(p))]...)
	return len(p), nil
}
