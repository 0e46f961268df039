package proc_test

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/fault"
	"vmctl/pkg/proc"
)

func TestAttach(t *testing.T) {
	for name, tt := range map[string]struct {
		args   []string
		in     io.Reader
		status int
		out    string
	}{
		"output":                  {args: []string{"-c", "echo out"}, out: "out\n"},
		"status":                  {args: []string{"-c", "exit 7"}, status: 7},
		"signal":                  {args: []string{"-c", "kill -TERM $$"}, status: 143},
		"input":                   {args: []string{"-c", "cat"}, in: strings.NewReader("in"), out: "in"},
		"no input":                {args: []string{"-c", "cat"}},
		"input that does not end": {args: []string{"-c", "read x; echo $x"}, in: endless{}, out: "a\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			status, err := proc.Attach(t.Context(), proc.Cmd{Path: "sh", Args: tt.args}, proc.Streams{In: tt.in, Out: &out})
			require.NoError(t, err)
			assert.Equal(t, tt.status, status)
			assert.Equal(t, tt.out, out.String())
		})
	}
}

// endless is a line, and then nothing for ever.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return copy(p, "a\n"), nil }

func TestAttachEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	defer func() { _ = w.Close() }()
	go func() {
		_, _ = io.ReadFull(r, make([]byte, 1))
		cancel()
		_, _ = io.Copy(io.Discard, r)
	}()
	_, err := proc.Attach(ctx, proc.Cmd{Path: "sh", Args: []string{"-c", "echo x; exec sleep 100"}}, proc.Streams{Out: w})
	require.Error(t, err)
	assert.Equal(t, fault.Interrupted, fault.KindOf(err))
}

func TestAttachOfNothing(t *testing.T) {
	_, err := proc.Attach(t.Context(), proc.Cmd{Path: "no-such-program"}, proc.Streams{})
	require.ErrorIs(t, err, proc.ErrNotFound)
}
