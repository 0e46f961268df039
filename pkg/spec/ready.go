package spec

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"vmctl/pkg/fault"
)

// Ready says by what a guest shows that it is ready.
type Ready struct {
	Kind ReadyKind
	// Pattern is what the console has to print, for ReadyConsole.
	Pattern string
	// Port is the guest's TCP port, for ReadyPort; 22 for ReadySSH.
	Port uint16
	// After is how long the guest is given, for ReadyAfter.
	After time.Duration
}

// ReportChannel is the name of the virtio port on which a guest reports that it is ready.
const ReportChannel = "org.vmctl.0"

// ReadyKind is a kind of sign.
type ReadyKind string

// The signs. ReadyAuto takes whichever comes first of the guest's own report, its agent
// and a login prompt, but waits for a report that the guest says will come.
const (
	ReadyAuto    ReadyKind = ""
	ReadyReport  ReadyKind = "report"
	ReadyAgent   ReadyKind = "agent"
	ReadySSH     ReadyKind = "ssh"
	ReadyPort    ReadyKind = "port"
	ReadyConsole ReadyKind = "console"
	ReadyAfter   ReadyKind = "after"
	ReadyStart   ReadyKind = "start"
)

const (
	readyLength  = 256
	readyPattern = `^(auto|report|agent|ssh|start|port [1-9][0-9]{0,4}|console /.+/|[1-9][0-9]{0,5}s)$`
	maxAfter     = 24 * time.Hour
)

// String is the sign as it is written.
func (r Ready) String() string {
	switch r.Kind {
	case ReadyAuto:
		return "auto"
	case ReadyPort:
		return fmt.Sprintf("port %d", r.Port)
	case ReadyConsole:
		return "console /" + r.Pattern + "/"
	case ReadyAfter:
		return fmt.Sprintf("%ds", int(r.After/time.Second))
	default:
		return string(r.Kind)
	}
}

// ParseReady reads the value of the ready key.
func ParseReady(s string) (Ready, error) {
	const forms = "write auto, report, agent, ssh, port NUMBER, console /PATTERN/, start or a time such as 30s"
	bad := func(format string, args ...any) (Ready, error) {
		return Ready{}, fault.New(fault.Usage, "%s cannot be what makes a machine ready: "+format, append([]any{quote(s)}, args...)...).WithHint(forms)
	}
	if len(s) > readyLength {
		return bad("it is longer than %d bytes", readyLength)
	}
	word, rest, more := strings.Cut(s, " ")
	switch kind := ReadyKind(word); kind {
	case "auto", ReadyReport, ReadyAgent, ReadySSH, ReadyStart:
		if more {
			return bad("nothing comes after %s", word)
		}
		switch kind {
		case "auto":
			return Ready{}, nil
		case ReadySSH:
			return Ready{Kind: ReadySSH, Port: 22}, nil
		}
		return Ready{Kind: kind}, nil
	case ReadyPort:
		port, err := strconv.ParseUint(rest, 10, 16)
		if err != nil || port == 0 || strings.HasPrefix(rest, "0") || !digits(rest) {
			return bad("%s is not a port", quote(rest))
		}
		return Ready{Kind: ReadyPort, Port: uint16(port)}, nil
	case ReadyConsole:
		pattern, ok := strings.CutPrefix(rest, "/")
		pattern, closed := strings.CutSuffix(pattern, "/")
		if !ok || !closed || pattern == "" {
			return bad("the pattern stands between two slashes")
		}
		if _, err := regexp.Compile(pattern); err != nil {
			return bad("the pattern is not one: %s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
		}
		return Ready{Kind: ReadyConsole, Pattern: pattern}, nil
	}
	number, ok := strings.CutSuffix(s, "s")
	seconds, err := strconv.Atoi(number)
	if ok && err == nil && digits(number) && !strings.HasPrefix(number, "0") {
		if after := time.Duration(seconds) * time.Second; after <= maxAfter {
			return Ready{Kind: ReadyAfter, After: after}, nil
		}
		return bad("the most is %d seconds", int(maxAfter/time.Second))
	}
	if near := Nearest(word, []string{"auto", "report", "agent", "ssh", "port", "console", "start"}); near != "" {
		return Ready{}, fault.New(fault.Usage, "%s cannot be what makes a machine ready", quote(s)).WithHint("did you mean %s? %s", near, forms)
	}
	return bad("it is none of the signs that vmctl knows")
}

func readyField() field {
	return field{
		Field: Field{
			Key: "ready", Type: "auto, report, agent, ssh, port NUMBER, console /PATTERN/, start or a time", Default: "auto", Example: "ssh",
			Doc: "What up waits for: report is the guest's own word on the virtio port org.vmctl.0 (vmctl's NixOS module gives it), agent that the QEMU guest " +
				"agent answers, ssh and port that something listens there and can be reached from here, console a line of the serial console that matches the regular " +
				"expression, start that the guest runs, and 30s that it has run so long. auto is whichever of report, agent and a login prompt comes first.",
		},
		words:  []string{"wait", "wait-for", "readiness", "health", "healthcheck"},
		schema: text(readyPattern, readyLength),
		read: func(p *parser, v value) {
			if s, ok := p.text1(v, "text", "write ready: agent"); ok {
				keep(p, v, &p.m.Ready, s, ParseReady)
			}
		},
	}
}
