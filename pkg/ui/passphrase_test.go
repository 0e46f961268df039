package ui

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"vmctl/pkg/fault"
)

func TestPassphraseIsNotShown(t *testing.T) {
	person, tty, err := pty.Open()
	require.NoError(t, err)
	defer func() { require.NoError(t, tty.Close()); require.NoError(t, person.Close()) }()
	hidden := func() bool {
		state, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
		require.NoError(t, err)
		return state.Lflag&unix.ECHO == 0
	}
	type answer struct {
		typed []byte
		err   error
	}
	answers := make(chan answer, 1)
	go func() {
		typed, err := Passphrase(t.Context(), Fixed(tty, tty, tty, 80), "passphrase of keys")
		answers <- answer{typed, err}
	}()
	require.Eventually(t, hidden, 10*time.Second, time.Millisecond)
	_, err = person.WriteString("correct horse\n")
	require.NoError(t, err)
	got := <-answers
	require.NoError(t, got.err)
	assert.Equal(t, "correct horse", string(got.typed))
	assert.False(t, hidden(), "the terminal is as it was")
	_, err = tty.WriteString("end")
	require.NoError(t, err)
	shown := make([]byte, 0, 256)
	for !strings.Contains(string(shown), "end") {
		n, err := person.Read(shown[len(shown):cap(shown)])
		require.NoError(t, err)
		shown = shown[:len(shown)+n]
	}
	assert.Contains(t, string(shown), "passphrase of keys: ")
	assert.NotContains(t, string(shown), "horse")
}

func TestPassphraseInterrupted(t *testing.T) {
	person, tty, err := pty.Open()
	require.NoError(t, err)
	defer func() { require.NoError(t, person.Close()); require.NoError(t, tty.Close()) }()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = Passphrase(ctx, Fixed(tty, tty, tty, 80), "passphrase")
	assert.True(t, fault.Is(err, fault.Interrupted), "%v", err)
	state, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	require.NoError(t, err)
	assert.NotZero(t, state.Lflag&unix.ECHO)
}

func TestPassphraseOfNobody(t *testing.T) {
	_, err := Passphrase(t.Context(), Fixed(strings.NewReader("x\n"), io.Discard, io.Discard, 80), "passphrase of keys")
	require.ErrorContains(t, err, "nobody can be asked for the passphrase of keys")
	assert.Equal(t, fault.Refused, fault.KindOf(err))
}
