package ui

import (
	"bytes"
	"io"
	"sync"

	"vmctl/pkg/progress"
)

// LogWriter gives a writer each line of which becomes a Log event of sink: the place
// for a logger's output, which would otherwise tear the progress display apart.
func LogWriter(sink progress.Sink) io.Writer { return &logWriter{sink: sink} }

type logWriter struct {
	sink progress.Sink
	mu   sync.Mutex
	rest []byte // an unfinished line
}

// longestLog bounds an unfinished line.
const longestLog = 64 << 10

// Write never fails.
func (w *logWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rest = append(w.rest, p...)
	for {
		line, rest, found := bytes.Cut(w.rest, []byte("\n"))
		if !found && len(w.rest) < longestLog {
			return len(p), nil
		}
		w.rest = rest
		w.sink.Emit(progress.Event{Status: progress.Log, Text: string(line)})
	}
}
