package guest

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"vmctl/pkg/ansi"
	"vmctl/pkg/fault"
)

//go:embed system.sh
var systemSource string

// ErrSystem is in errors that the guest itself gave when its system was to be changed.
var ErrSystem = errors.New("the guest could not change its system")

// systemScript is the script without its comments.
func systemScript() string { return comments.ReplaceAllString(systemSource, "") }

// SystemState is how the system of a NixOS guest stands: the guest's own word, checked.
type SystemState struct {
	// NixOS, Nix and Systemd say what the guest has of what a change needs.
	NixOS, Nix, Systemd bool
	// Current is the store path of the system that runs, Booted of the one that was booted,
	// Profile of the one that boots next. Each may be empty.
	Current, Booted, Profile string
	// Generation is the profile's; 0 is none.
	Generation int
	// Generations are those that the guest has kept, the oldest first.
	Generations []Generation
	// There says that the system that was asked about is in the guest's store, and Reboot
	// which parts of it take a boot: kernel, initrd, kernel-modules.
	There  bool
	Reboot []string
	// FailedUnits are those of systemd that have failed.
	FailedUnits []string
}

// Generation is a system that a guest has kept.
type Generation struct {
	Number int
	Made   time.Time
	// System is its store path.
	System string
}

// maxState is the most that is read of what a guest says of its system.
const maxState = 256 << 10

// systemPath is the store path of a system, whose store may be anywhere, and maxSystem the
// longest that is taken for one. (A bound in the pattern costs each start of the program.)
var systemPath = regexp.MustCompile(`^/[A-Za-z0-9+._?=/-]+/[0-9a-z]{32}-[A-Za-z0-9+._?=-]+$`)

const maxSystem = 445

func checkedSystem(text string) string {
	if len(text) <= maxSystem && systemPath.MatchString(text) && path.Clean(text) == text {
		return text
	}
	return ""
}

// ParseSystemState reads what the script says, a fact a line. What does not stand the check
// is left out.
func ParseSystemState(text string) SystemState {
	var s SystemState
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		value := ""
		if len(words) > 1 {
			value = words[1]
		}
		switch words[0] {
		case "nixos":
			s.NixOS = true
		case "nix":
			s.Nix = true
		case "systemd":
			s.Systemd = true
		case "there":
			s.There = true
		case "current":
			s.Current = checkedSystem(value)
		case "booted":
			s.Booted = checkedSystem(value)
		case "profile":
			s.Profile = checkedSystem(value)
		case "generation":
			s.Generation = positive(value)
		case "known":
			s.know(words[1:])
		case "reboot":
			if slices.Contains([]string{"kernel", "initrd", "kernel-modules"}, value) && !slices.Contains(s.Reboot, value) {
				s.Reboot = append(s.Reboot, value)
			}
		case "failed":
			if unitPattern.MatchString(value) && len(s.FailedUnits) < maxUnits {
				s.FailedUnits = append(s.FailedUnits, value)
			}
		}
	}
	slices.SortFunc(s.Generations, func(a, b Generation) int { return a.Number - b.Number })
	return s
}

// positive is a number of a few digits, or 0.
func positive(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > 1<<40 {
		return 0
	}
	return n
}

func (s *SystemState) know(words []string) {
	if len(words) != 3 {
		return
	}
	g := Generation{Number: positive(words[0]), Made: time.Unix(int64(positive(words[1])), 0).UTC(), System: checkedSystem(words[2])}
	if g.Number > 0 && g.System != "" {
		s.Generations = append(s.Generations, g)
	}
}

// Of is the generation with a number.
func (s *SystemState) Of(number int) (Generation, bool) {
	i := slices.IndexFunc(s.Generations, func(g Generation) bool { return g.Number == number })
	if i < 0 {
		return Generation{}, false
	}
	return s.Generations[i], true
}

// Able refuses guests whose system cannot be changed.
func (s *SystemState) Able(machine string) error {
	switch {
	case !s.NixOS:
		return fault.New(fault.Refused, "the system in %s is no NixOS, and cannot be changed by nix", machine).
			WithHint("vmctl up --replace %s makes its root disk anew from its image", machine)
	case !s.Nix:
		return fault.New(fault.Refused, "%s has no nix: its system cannot be changed while it runs", machine).
			WithHint("write nix.enable = true in its configuration, and make its root disk anew: vmctl up --replace %s", machine)
	case !s.Systemd:
		return fault.New(fault.Refused, "%s does not run systemd, which a change of its system needs to find its way back", machine)
	case s.Current == "":
		return fault.New(fault.Refused, "%s does not say which system it runs: /run/current-system leads nowhere", machine)
	}
	return nil
}

// Look asks a guest how its system stands, and what another one, which may be empty, would
// change.
func Look(ctx context.Context, in Runner, system string) (SystemState, error) {
	var out bounded
	if err := systemCall(ctx, in, &out, "look", system); err != nil {
		return SystemState{}, err
	}
	return ParseSystemState(out.String()), nil
}

// Differences are what changes from one system in the guest's store to another: nix's own
// lines, such as "nginx: 1.26 → 1.27".
func Differences(ctx context.Context, in Runner, from, to string) ([]string, error) {
	var out bounded
	if err := systemCall(ctx, in, &out, "diff", from, to); err != nil {
		return nil, err
	}
	var lines []string
	for line := range strings.Lines(out.String()) {
		if line = strings.TrimSpace(ansi.Plain(line)); line != "" && len(lines) < maxDifferences {
			lines = append(lines, line)
		}
	}
	return lines, nil
}

const maxDifferences = 1000

// Preview is what the activation of a system in the guest's store would do, in the words of
// the system's own script.
func Preview(ctx context.Context, in Runner, system string) (string, error) {
	var out bounded
	err := systemCall(ctx, in, &out, "preview", system)
	return ansi.Plain(out.String()), err
}

// busyStatus is the script's exit status when another change is under way.
const busyStatus = 75

// systemCall runs the script in the guest. Both outputs go to out: some of what it runs
// says what matters on standard error.
func systemCall(ctx context.Context, in Runner, out io.Writer, words ...string) error {
	said := &ending{most: 4 << 10}
	both := io.MultiWriter(out, said)
	var errs io.Writer = said
	if words[0] == "preview" {
		errs = both
	}
	status, err := in.Run(ctx, Command{Argv: script(systemScript(), words...), Stdout: out, Stderr: errs})
	if err != nil || status == 0 {
		return err
	}
	lines := strings.Split(strings.TrimSpace(ansi.Plain(said.String())), "\n")
	why := lines[len(lines)-1]
	switch {
	case strings.Contains(why, "sudo") && strings.Contains(why, "not found"):
		return (&fault.Error{Kind: fault.Refused, Cause: ErrSystem, Msg: "the login is not root, and the guest has no sudo: it does not look like a NixOS system"}).
			WithHint("if it is one, write ssh: {user: root} in the definition; the system of another guest is changed in it, or by a new image: vmctl up --replace")
	case strings.Contains(why, "sudo:"):
		return (&fault.Error{Kind: fault.Refused, Cause: ErrSystem, Msg: "the login may not become root without a password: " + why}).
			WithHint("let it use sudo without one (NixOS: security.sudo.wheelNeedsPassword = false), or write ssh: {user: root} in the definition")
	case status == busyStatus:
		return &fault.Error{Kind: fault.Refused, Cause: ErrSystem, Msg: why}
	case status == SSHFailed:
		return fault.New(fault.Unreachable, "ssh was cut off: %s", why)
	case why == "":
		why = fmt.Sprintf("exit status %d", status)
	}
	return &fault.Error{Kind: fault.Other, Cause: ErrSystem, Msg: "the guest could not " + doing(words[0]) + ": " + why}
}

func doing(word string) string {
	switch word {
	case "begin":
		return "begin to change its system"
	case "diff":
		return "compare two systems"
	case "preview":
		return "say what would change"
	case "look":
		return "say how its system stands"
	}
	return word
}

// bounded keeps the beginning of what is written.
type bounded struct{ kept bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	if room := maxState - b.kept.Len(); room > 0 {
		_, _ = b.kept.Write(p[:min(len(p), room)]) // never fails
	}
	return len(p), nil
}

func (b *bounded) String() string { return b.kept.String() }

// AsRoot runs programs by sudo, which must not ask for a password.
func AsRoot(in Runner) Runner { return sudo{in} }

type sudo struct{ Runner }

func (s sudo) Run(ctx context.Context, c Command) (int, error) {
	c.Argv = append([]string{"sudo", "-n", "--"}, c.Argv...)
	return s.Runner.Run(ctx, c)
}
