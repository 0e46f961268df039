// Package guest is about what happens inside the guest: for now, whether it is ready.
// It reads what the guest says and never trusts it.
package guest

import (
	"context"
	"errors"
	"io"
	"regexp"
	"strings"
	"time"

	"vmctl/pkg/ansi"
	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/progress"
)

// Options say what to wait for.
type Options struct {
	// Timeout is how long the guest may take; 0 is no limit.
	Timeout time.Duration
	// Log is the volume that takes what the serial console prints.
	Log string
	// Sink is told the console's latest line.
	Sink progress.Sink
}

// How a guest showed that it is ready.
const (
	ByAgent = "the guest agent answers"
	ByLogin = "it asks for a login"
)

// look is how often the console's log is read: libvirt has no event for it.
const look = 300 * time.Millisecond

// prompt is what agetty, BusyBox and systemd's getty end their output with.
var prompt = regexp.MustCompile(`(?i)login: *$`)

// Wait waits until the guest agent answers or the serial console asks for a login,
// whichever comes first, and says which. It fails when the guest stops, when the
// connection is lost, when the time is up and when ctx ends; the guest runs on.
func Wait(ctx context.Context, host *engine.Host, name string, o Options) (string, error) {
	event := progress.Event{ID: name + "/ready", Text: "wait until " + name + " is ready"}
	o.Sink.Emit(event)
	w := watcher{host: host, name: name, o: o, event: event}
	how, err := w.wait(ctx)
	if err != nil && ctx.Err() != nil {
		// Whatever call the interruption hit: what a person wants to know is the same.
		err = fault.New(fault.Interrupted, "interrupted; %s keeps booting", name).
			WithHint("vmctl console %[1]s shows it, vmctl down %[1]s removes it", name)
	}
	event.Status, event.Detail = progress.Done, how
	if err != nil {
		event.Status, event.Err = progress.Failed, err
	}
	o.Sink.Emit(event)
	return how, err
}

type watcher struct {
	host    *engine.Host
	name    string
	o       Options
	event   progress.Event
	console tail
}

func (w *watcher) wait(ctx context.Context) (string, error) {
	watch, cancel := context.WithCancel(ctx)
	defer cancel()
	events, err := w.host.Events.Watch(watch, w.name)
	if err != nil {
		return "", err
	}
	connected, err := w.host.Events.AgentConnected(ctx, w.name)
	if err != nil {
		return "", err
	}
	if connected {
		return ByAgent, nil
	}
	// It may have stopped before the watch began.
	if d, err := w.host.Domains.Domain(ctx, w.name); err != nil || !d.State.Active() {
		return "", w.gone(ctx, err)
	}
	var deadline <-chan time.Time
	if w.o.Timeout > 0 {
		timer := time.NewTimer(w.o.Timeout)
		defer timer.Stop()
		deadline = timer.C
	}
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case event, open := <-events:
			switch {
			case !open || event.Kind == engine.EventDisconnected:
				return "", w.failed(fault.Unreachable, "the connection to %s was lost while %s was booting; it runs on", w.host.URI, w.name)
			case event.Kind == engine.EventAgent:
				return ByAgent, nil
			case event.Kind == engine.EventStopped || event.Kind == engine.EventCrashed || event.Kind == engine.EventUndefined:
				return "", w.gone(ctx, nil)
			}
		case <-ticker.C:
			if err := w.read(ctx); err != nil {
				return "", err
			}
			if prompt.MatchString(w.console.last()) {
				return ByLogin, nil
			}
		case <-deadline:
			return "", w.failed(fault.Timeout, "%s was not ready within %s: its guest agent did not answer and its console asked for no login", w.name, w.o.Timeout)
		}
	}
}

// gone is the error of a guest that is off, unless err has another reason.
func (w *watcher) gone(ctx context.Context, err error) error {
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	_ = w.read(ctx)
	return w.failed(fault.Other, "%s stopped before it was ready", w.name)
}

// read takes in what the console has printed since the last time.
func (w *watcher) read(ctx context.Context) error {
	log, err := w.host.Volumes.ReadVolume(ctx, w.o.Log, w.console.offset)
	if fault.Is(err, fault.NotFound) {
		return nil // nothing printed yet
	}
	if err != nil {
		return err
	}
	n, err := io.Copy(&w.console, log)
	if err = errors.Join(err, log.Close()); err != nil {
		return err
	}
	if n > 0 {
		if lines := w.console.lines(); len(lines) > 0 {
			w.event.Detail = strings.TrimSpace(lines[len(lines)-1])
			w.o.Sink.Emit(w.event)
		}
	}
	return nil
}

func (w *watcher) failed(kind fault.Kind, format string, args ...any) error {
	details := "its console printed nothing"
	if lines := w.console.lines(); len(lines) > 0 {
		details = "the last lines of its console:\n  " + strings.Join(lines, "\n  ")
	}
	return fault.New(kind, format, args...).WithDetails(details).
		WithHint("vmctl logs %[1]s shows all it printed; vmctl console %[1]s connects to it", w.name)
}

// tail keeps the end of what a console printed, without control sequences.
type tail struct {
	offset int64
	text   []byte
}

const (
	tailBytes = 16 << 10
	tailLines = 10
)

func (t *tail) Write(p []byte) (int, error) {
	t.offset += int64(len(p))
	t.text = append(t.text, p...)
	if extra := len(t.text) - tailBytes; extra > 0 {
		t.text = append(t.text[:0], t.text[extra:]...)
	}
	return len(p), nil
}

func (t *tail) all() []string {
	return strings.Split(strings.ReplaceAll(ansi.Plain(string(t.text)), "\r", ""), "\n")
}

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
