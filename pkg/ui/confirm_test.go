package ui

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/fault"
)

func TestConfirm(t *testing.T) {
	tests := []struct {
		name, input     string
		otherwise, want bool
		shown           string
	}{
		{name: "yes", input: "y\n", want: true, shown: "go on? [y/N] "},
		{name: "long yes", input: " YES \r\n", want: true, shown: "go on? [y/N] "},
		{name: "no", input: "n\n", otherwise: true, shown: "go on? [Y/n] "},
		{name: "empty means no", input: "\n", shown: "go on? [y/N] "},
		{name: "empty means yes", input: "\n", otherwise: true, want: true, shown: "go on? [Y/n] "},
		{name: "nothing is never yes", otherwise: true, shown: "go on? [Y/n] \n"},
		{name: "asked again", input: "what\nyes\n", want: true, shown: "go on? [y/N] please answer y or n\ngo on? [y/N] "},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s, out, errs := terminal(80)
			s.In = strings.NewReader(test.input)
			got, err := Confirm(t.Context(), s, "go\x07 on?", test.otherwise, "--yes")
			require.NoError(t, err)
			assert.Equal(t, test.want, got)
			assert.Equal(t, test.shown, errs.String())
			assert.Empty(t, out.String())
		})
	}
}

func TestConfirmLeavesTheRestOfTheInput(t *testing.T) {
	s, _, _ := terminal(80)
	in := strings.NewReader("y\nrest")
	s.In = in
	_, err := Confirm(t.Context(), s, "go on?", false, "--yes")
	require.NoError(t, err)
	assert.Equal(t, 4, in.Len())
}

func TestConfirmAsksNobody(t *testing.T) {
	s, _, errs := terminal(80)
	s.InTTY = false
	_, err := Confirm(t.Context(), s, "replace the root disk of example?", false, "--replace")
	require.EqualError(t, err, `"replace the root disk of example?" needs an answer, and standard input is not a terminal`)
	assert.True(t, fault.Is(err, fault.Refused))
	assert.Equal(t, "answer yes with --replace", fault.HintOf(err))
	s.InTTY, s.ErrTTY = true, false
	_, err = Confirm(t.Context(), s, "go on?", false, "--yes")
	require.ErrorContains(t, err, "standard error is not a terminal")
	assert.Empty(t, errs.String())
}

func TestConfirmOnATerminal(t *testing.T) {
	person, tty, err := pty.Open()
	require.NoError(t, err)
	defer func() { require.NoError(t, person.Close()); require.NoError(t, tty.Close()) }()
	s := Fixed(tty, tty, tty, 80)
	assert.True(t, isTerminal(tty))
	_, err = person.WriteString("y\n")
	require.NoError(t, err)
	got, err := Confirm(t.Context(), s, "go on?", false, "--yes")
	require.NoError(t, err)
	assert.True(t, got)
}

func TestConfirmInterrupted(t *testing.T) {
	person, tty, err := pty.Open()
	require.NoError(t, err)
	defer func() { require.NoError(t, person.Close()); require.NoError(t, tty.Close()) }()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = Confirm(ctx, Fixed(tty, tty, tty, 80), "go on?", true, "--yes")
	assert.True(t, fault.Is(err, fault.Interrupted), "%v", err)
}
