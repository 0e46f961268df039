package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"vmctl/pkg/fault"
	"vmctl/pkg/ui"
)

func splitZero(words string) []string { return strings.Split(words, "\x00") }

func TestExitCodes(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		code int
	}{
		"nothing":           {nil, 0},
		"no kind":           {errors.New("x"), 1},
		"other":             {fault.New(fault.Other, "x"), 1},
		"a failed check":    {errChecks, 1},
		"usage":             {fault.New(fault.Usage, "x"), 2},
		"plan: changes":     {errPending, 2},
		"logs -f: Ctrl-C":   {errLeft, 130},
		"invalid":           {fault.New(fault.Invalid, "x"), 3},
		"not found":         {fault.New(fault.NotFound, "x"), 4},
		"refused":           {fault.New(fault.Refused, "x"), 5},
		"unreachable":       {fault.New(fault.Unreachable, "x"), 6},
		"build":             {fault.New(fault.Build, "x"), 7},
		"timeout":           {fault.New(fault.Timeout, "x"), 8},
		"interrupted":       {fault.New(fault.Interrupted, "x"), 130},
		"pipe":              {fmt.Errorf("write: %w", ui.ErrBrokenPipe), 141},
		"wrapped":           {fmt.Errorf("a: %w", fault.New(fault.Build, "x")), 7},
		"the first of many": {machineErrors{fault.New(fault.Timeout, "x"), fault.New(fault.Build, "y")}, 8},
		"first has no kind": {machineErrors{errors.New("x"), fault.New(fault.Build, "y")}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, tt.code, codeOf(tt.err))
			documented := false
			for _, row := range exitCodes() {
				documented = documented || row.code == tt.code
			}
			assert.True(t, documented)
		})
	}
}

func TestOnlyAnEndedContextMakesAnInterruption(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	assert.Equal(t, 130, codeOf(interruption(ended, fmt.Errorf("read: %w", context.Canceled))))
	assert.Equal(t, 7, codeOf(interruption(ended, fault.New(fault.Build, "x"))), "what failed before is the reason")
	assert.Equal(t, 1, codeOf(interruption(t.Context(), context.Canceled)))
	assert.NoError(t, interruption(ended, nil))
}
