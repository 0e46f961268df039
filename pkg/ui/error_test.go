package ui

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"vmctl/pkg/fault"
)

var failures = []struct {
	name string
	err  error
}{
	{"sentence", errors.New("there is no project here")},
	{"hint", fault.New(fault.Refused, "a domain named example exists on this host and is not vmctl's").
		WithHint("choose another name, or remove it with virsh -c qemu:///system undefine example")},
	{"wrapped", fmt.Errorf("machine example: %w", fault.New(fault.Build, "the image could not be built: %w",
		fault.New(fault.Other, "builder for linux-6.6.54 ended with status 2").
			WithDetails("\ncc: error\x1b]0;x\x07\n\n\tmake: *** [all] Error 2\n").WithHint("vmctl build example -v\nnix log /nix/store/x.drv")))},
	{"report", fault.New(fault.Invalid, "%s", "domain/example.yaml:3:1: unknown key \"memroy\"\n\n  3 | memroy: 1GiB\n    | ^^^^^^\n    = did you mean \"memory\"?\n")},
	{"several lines", fmt.Errorf("the domain could not be started: %w", fault.New(fault.Other, "%s",
		"process exited\nqemu-system-x86_64: -drive: Could not open\n"))},
	{"joined", errors.Join(fault.New(fault.NotFound, "there is no machine called exampel").WithHint("did you mean example?"), nil,
		errors.Join(errors.New("the volume could not be removed"), errors.New("the volume could not be removed")), ErrBrokenPipe)},
	{"several causes in one sentence", fmt.Errorf("neither %w nor %w works", errors.New("KVM"), errors.New("software emulation"))},
	{"hostile", errors.New("guest says \x1b[2J\x1b[31mhi\r\x07 \u202eevil\u009b0m")},
	{"broken pipe", fmt.Errorf("list: %w", ErrBrokenPipe)},
	{"none", nil},
}

func TestErrorGolden(t *testing.T) {
	for _, columns := range []int{0, 20, 40, 80, 120} {
		var b strings.Builder
		for _, f := range failures {
			s, out, errs := terminal(columns)
			Error(s, f.err)
			fmt.Fprintf(&b, "=== %s\n%s", f.name, errs)
			assert.Empty(t, out.String())
			assert.NotContains(t, errs.String(), "\x1b")
		}
		golden(t, fmt.Sprintf("errors-%d.txt", columns), b.String())
	}
}

func TestErrorColour(t *testing.T) {
	s, _, errs := terminal(80)
	s.ErrColor = true
	Error(s, fault.New(fault.Other, "no").WithHint("yes"))
	assert.Equal(t, "\x1b[1;31mvmctl:\x1b[0m no\n\x1b[36mhint:\x1b[0m yes\n", errs.String())
}

func TestErrorJSONGolden(t *testing.T) {
	var b strings.Builder
	for _, f := range failures {
		s, out, errs := pipes()
		ErrorJSON(s, f.err, 5)
		b.WriteString(errs.String())
		assert.Empty(t, out.String())
	}
	golden(t, "errors-json.txt", b.String())
}

func TestKindName(t *testing.T) {
	seen := map[string]bool{}
	for kind := fault.Other; kind <= fault.Interrupted; kind++ {
		seen[KindName(kind)] = true
	}
	assert.Len(t, seen, int(fault.Interrupted)+1, "every kind has a name of its own")
}
