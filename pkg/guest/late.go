package guest

import (
	"fmt"
	"strings"

	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// late is the error of a guest that took too long: what was missing, and where it stands.
func (w *watcher) late() error {
	f := w.failed(fault.Timeout, "%s was not ready within %s: %s; %s", w.name, w.o.Timeout, w.missing(), w.stands())
	if w.o.Ready.Kind == spec.ReadyAgent && stageOf(w.console.said()) == atLogin {
		return f.WithHint("install and start the QEMU guest agent in it (qemu-guest-agent), or write ready: auto; vmctl logs %s shows all it printed", w.name)
	}
	return f
}

// missing says which sign did not come.
func (w *watcher) missing() string {
	promised := w.report != nil && w.report.State == StateBooting
	switch w.o.Ready.Kind {
	case spec.ReadyReport, spec.ReadyAuto:
		switch {
		case promised:
			return "it said that it is booting, and not yet that it is ready"
		case w.o.Ready.Kind == spec.ReadyReport:
			return "it reported nothing on its port " + spec.ReportChannel
		}
		return "its guest agent did not answer and its console asked for no login"
	case spec.ReadyAgent:
		return "its guest agent did not answer"
	case spec.ReadySSH, spec.ReadyPort:
		if w.answer == "" {
			return fmt.Sprintf("nothing answered on its port %d", w.o.Ready.Port)
		}
		return w.answer
	case spec.ReadyConsole:
		return fmt.Sprintf("its console printed nothing that matches /%s/", w.o.Ready.Pattern)
	default:
		return "it has not run so long"
	}
}

// stands says where the guest stands.
func (w *watcher) stands() string {
	said := w.console.said()
	if secureBootRefusal(said) {
		return "the firmware refused what is on its disk, because it is not signed with a key that Secure Boot knows"
	}
	return sentence(said)
}

func (w *watcher) failed(kind fault.Kind, format string, args ...any) *fault.Error {
	hint := fmt.Sprintf("vmctl logs %[1]s shows all it printed; vmctl console %[1]s connects to it", w.name)
	if secureBootRefusal(w.console.said()) {
		hint = fmt.Sprintf("use an image whose boot loader is signed, or write secure-boot: false and run vmctl up --replace %s", w.name)
	}
	f := fault.New(kind, format, args...).WithHint("%s", hint)
	if lines := w.console.lines(); len(lines) > 0 {
		return f.WithDetails("the last lines of its console:\n  " + strings.Join(lines, "\n  "))
	}
	return f
}
