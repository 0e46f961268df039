// Package guest is about what happens inside the guest: whether it is ready and why not.
// It reads what the guest says and never trusts it.
package guest

import (
	"context"
	"regexp"
	"strings"
	"time"

	"vmctl/pkg/ansi"
	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/progress"
	"vmctl/pkg/spec"
	"vmctl/pkg/ssh"
)

// Options say what to wait for.
type Options struct {
	// Ready is the sign that is waited for.
	Ready spec.Ready
	// Running says that the guest was started earlier: a sign may have been given already.
	Running bool
	// Timeout is how long the guest may take; 0 is no limit.
	Timeout time.Duration
	// Targets are the addresses, as HOST:PORT, at which a TCP port of the guest can be
	// reached from here. There may be none yet.
	Targets func(ctx context.Context, port uint16) []string
	// Jump is the host from which they are reached; nil is this machine.
	Jump *ssh.Host
	// Sink is told the console's latest line.
	Sink progress.Sink
}

// Outcome is how a guest showed that it is ready.
type Outcome struct {
	// How is one of the words below.
	How string
	// Report is the last that the guest gave, or nil.
	Report *Report
}

// How a guest showed that it is ready.
const (
	ByReport  = "it says so"
	ByAgent   = "the guest agent answers"
	ByLogin   = "it asks for a login"
	BySSH     = "its ssh server answers"
	ByPort    = "its port answers"
	ByConsole = "its console says so"
	ByTime    = "its time has passed"
	ByStart   = "it was started"
)

const (
	// look is how often the console's log is read: libvirt has no event for it.
	look = 300 * time.Millisecond
	// settle is how long it may take until a guest is heard that says that a report will
	// come: it says so before it shows any other sign.
	settle = 250 * time.Millisecond
	// stuck is how long a guest stays at something that it seldom gets beyond, until that
	// is what came of it.
	stuck = 5 * time.Second
)

// prompt is what agetty, BusyBox and systemd's getty end their output with.
var prompt = regexp.MustCompile(`(?i)login: *$`)

// Wait waits until the guest shows the sign that it is ready. It fails when the guest
// stops or cannot get further, when the connection is lost, when the time is up and when
// ctx ends; the guest runs on.
func Wait(ctx context.Context, host *engine.Host, name string, o Options) (Outcome, error) {
	event := progress.Event{ID: name + "/ready", Text: "wait until " + name + " is ready"}
	o.Sink.Emit(event)
	w := watcher{host: host, name: name, o: o, event: event, log: engine.NewConsoleLog(host.Volumes, name)}
	if o.Ready.Kind == spec.ReadyConsole {
		w.console.pattern, _ = regexp.Compile("(?m)" + o.Ready.Pattern)
	}
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
	return Outcome{How: how, Report: w.report}, err
}

type watcher struct {
	host    *engine.Host
	name    string
	o       Options
	event   progress.Event
	log     *engine.ConsoleLog
	console tail
	// fresh says that it printed something at the last look.
	fresh bool
	// report is the last that was heard.
	report *Report
	// sign is another than the report that the guest gave, until settle has passed.
	sign string
	// answer is what came of the last attempt to connect.
	answer string
}

func (w *watcher) wait(ctx context.Context) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events, err := w.host.Events.Watch(ctx, w.name)
	if err != nil {
		return "", err
	}
	connected, err := w.host.Events.AgentConnected(ctx, w.name)
	if err != nil {
		return "", err
	}
	// It may have stopped before the watch began.
	if d, err := w.host.Domains.Domain(ctx, w.name); err != nil || !d.State.Active() {
		return "", w.gone(ctx, err)
	}
	if w.o.Ready.Kind == spec.ReadyStart {
		return ByStart, nil
	}
	began := time.Now()
	reports, done := w.listen(ctx)
	defer done()
	var t timers
	if w.o.Timeout > 0 {
		t.deadline = in(ctx, w.o.Timeout)
	}
	if w.o.Ready.Kind == spec.ReadyAfter {
		t.after = in(ctx, w.o.Ready.After)
	}
	if connected {
		w.signed(ByAgent)
	}
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	answers := w.dial(ctx)
	for {
		if w.sign != "" && t.settled == nil {
			t.settled = in(ctx, time.Until(began.Add(settle)))
		}
		var how string
		var err error
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case event, open := <-events:
			err = w.happened(ctx, event, open)
		case r := <-reports:
			if w.report = &r; w.done() {
				how, err = w.reported()
			}
		case answer := <-answers:
			how, w.answer = answer.how, answer.trouble
		case <-t.after:
			how = ByTime
		case <-t.settled:
			how, err = w.settled(reports)
			t.settled = nil
		case <-t.hung:
			err = w.failed(fault.Other, "%s does not boot: %s", w.name, w.stands())
		case <-ticker.C:
			how, err = w.looked(ctx, &t)
		case <-t.deadline:
			_ = w.read(ctx)
			err = w.late()
		}
		if how != "" || err != nil {
			return how, err
		}
	}
}

// timers are what a wait is bounded by; nil ones never fire.
type timers struct {
	deadline, after, settled, hung <-chan time.Time
}

// in fires once, unless ctx ends before.
func in(ctx context.Context, d time.Duration) <-chan time.Time {
	timer := time.NewTimer(d)
	context.AfterFunc(ctx, func() { timer.Stop() })
	return timer.C
}

// happened takes in what the host tells.
func (w *watcher) happened(ctx context.Context, event engine.Event, open bool) error {
	switch {
	case !open || event.Kind == engine.EventDisconnected:
		return w.failed(fault.Unreachable, "the connection to %s was lost while %s was booting; it runs on", w.host.URI, w.name)
	case event.Kind == engine.EventAgent:
		w.signed(ByAgent)
	case event.Kind == engine.EventStopped || event.Kind == engine.EventCrashed || event.Kind == engine.EventUndefined:
		return w.gone(ctx, nil)
	case event.Kind == engine.EventDiskFull:
		_ = w.read(ctx)
		return w.failed(fault.Refused, "%s is paused: there is no room left on %s for what it writes to its disks", w.name, w.host.URI).
			WithHint("make room there (vmctl image prune removes what nothing uses), then: virsh -c %s resume %s", ansi.ShellWord(w.host.URI), w.name)
	}
	return nil
}

// settled takes another sign than a report for good, unless a report was promised.
func (w *watcher) settled(reports <-chan Report) (string, error) {
	select {
	case r := <-reports:
		w.report = &r
	default:
	}
	switch {
	case w.done():
		return w.reported()
	case w.report == nil || w.o.Ready.Kind != spec.ReadyAuto:
		return w.sign, nil
	}
	w.sign = ""
	return "", nil
}

// looked reads what the console printed and says what follows from it.
func (w *watcher) looked(ctx context.Context, t *timers) (string, error) {
	if err := w.read(ctx); err != nil {
		return "", err
	}
	if w.console.matched {
		return ByConsole, nil
	}
	if !w.fresh {
		return "", nil // nothing was printed that could change what is known
	}
	if w.prompts() {
		w.signed(ByLogin)
	}
	switch {
	case !w.hopeless():
		t.hung = nil
	case t.hung == nil:
		t.hung = in(ctx, stuck)
	}
	return "", nil
}

// done says that the guest has reported that it is ready, and that this is a sign.
func (w *watcher) done() bool {
	return w.report != nil && w.report.State == StateReady && w.wants(spec.ReadyReport)
}

// wants says whether the sign is one of those waited for.
func (w *watcher) wants(kind spec.ReadyKind) bool {
	return w.o.Ready.Kind == spec.ReadyAuto || w.o.Ready.Kind == kind
}

// signed notes a sign that is no report. A guest that has promised a report is held to it.
func (w *watcher) signed(how string) {
	kind := spec.ReadyAuto
	if how == ByAgent {
		kind = spec.ReadyAgent
	}
	promised := w.report != nil && w.report.State == StateBooting && w.o.Ready.Kind == spec.ReadyAuto
	if w.wants(kind) && w.sign == "" && !promised {
		w.sign = how
	}
}

// reported is what the guest's report comes to. Who asked for it wants to hear of units
// that failed; else that is for a note.
func (w *watcher) reported() (string, error) {
	if w.o.Ready.Kind == spec.ReadyReport && len(w.report.FailedUnits) > 0 {
		return "", w.failed(fault.Other, "%s has booted, but units failed: %s", w.name, strings.Join(w.report.FailedUnits, ", "))
	}
	return ByReport, nil
}

// prompts says whether the console asks for a login, or has, when the guest runs for a while.
func (w *watcher) prompts() bool {
	return prompt.MatchString(w.console.last()) || w.o.Running && stageOf(w.console.said()) == atLogin
}

// hopeless says that the guest stands where it will hardly get on from.
func (w *watcher) hopeless() bool {
	said := w.console.said()
	at := strings.LastIndex(said, "Kernel panic")
	// One that boots anew after a panic is not at its end.
	return at >= 0 && stageOf(said) == atPanic && !strings.Contains(said[at:], "Linux version ") || secureBootRefusal(said)
}

// gone is the error of a guest that is off, unless err has another reason.
func (w *watcher) gone(ctx context.Context, err error) error {
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	_ = w.read(ctx)
	return w.failed(fault.Other, "%s stopped before it was ready", w.name)
}
