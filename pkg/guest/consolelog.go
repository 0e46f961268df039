package guest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"

	"vmctl/pkg/fault"
)

const (
	// lookMost is how much of the console's log is read at one look: a guest that prints
	// faster than that is behind, and keeps nobody from ending the wait.
	lookMost = 1 << 20
	// anchorBytes is how much of what was read is read again, to see that the log is still
	// the same: virtlogd puts it aside when it has 2 MiB (max_size in virtlogd.conf), and
	// begins another.
	anchorBytes = 64
)

// read takes in what the console has printed since the last time.
func (w *watcher) read(ctx context.Context) error {
	n, same, err := w.add(ctx, w.o.Log)
	if err == nil && !same {
		// It is another one since the boot, or because this one was put aside: then its rest is there.
		rest, _, _ := w.add(ctx, w.o.Log+".0")
		w.console.offset = 0
		n, _, err = w.add(ctx, w.o.Log)
		n += rest
	}
	if fault.Is(err, fault.NotFound) {
		return nil // nothing printed yet
	}
	if err != nil {
		return err
	}
	if w.fresh = n > 0; w.fresh {
		if lines := w.console.lines(); len(lines) > 0 {
			w.event.Detail = strings.TrimSpace(lines[len(lines)-1])
			w.o.Sink.Emit(w.event)
		}
	}
	return nil
}

// add reads on from where the last look ended. The log is not the same any more when what
// stands before that is something else, or nothing.
func (w *watcher) add(ctx context.Context, volume string) (n int64, same bool, err error) {
	anchor := w.console.anchor()
	log, err := w.host.Volumes.ReadVolume(ctx, volume, w.console.offset-int64(len(anchor)))
	if err != nil {
		return 0, true, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	before := make([]byte, len(anchor))
	if _, err := io.ReadFull(log, before); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return 0, false, nil
		}
		return 0, true, err
	}
	if !bytes.Equal(before, anchor) {
		return 0, false, nil
	}
	n, err = io.Copy(&w.console, io.LimitReader(log, lookMost))
	return n, true, err
}

// anchor is the end of what was read of the log as it is now.
func (t *tail) anchor() []byte {
	return t.text[max(0, len(t.text)-int(min(t.offset, anchorBytes))):]
}
