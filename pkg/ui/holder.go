package ui

import (
	"bytes"
	"io"
	"sync"
)

// holder writes lines to standard error, and keeps them back while somebody else
// owns the terminal. A pipe is nobody's, so there is nothing to keep back.
type holder struct {
	mu   sync.Mutex
	w    io.Writer
	tty  bool
	held bool
	kept bytes.Buffer
}

func newHolder(s *Streams) *holder { return &holder{w: s.Err, tty: s.ErrTTY} }

func (h *holder) write(p []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.held {
		h.kept.Write(p)
		return
	}
	_, _ = h.w.Write(p) // progress that nobody can read is no reason to stop
}

func (h *holder) hold() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held = h.tty
}

func (h *holder) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held = false
	if h.kept.Len() > 0 {
		_, _ = h.w.Write(h.kept.Bytes())
		h.kept.Reset()
	}
}
