package cli

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What a guest's program prints drives no terminal, in whatever pieces it arrives, and
// reaches a pipe as it is.
func TestWhatGuestsPrintIsShown(t *testing.T) {
	hostile := "\x1b[31mred\x1b]52;c;ZXZpbA==\x07\x1b]0;title\x07\x1b[c\x1b[6n\x1bP$q\x1b\\\u009b2t\x05\x00\n"
	show := func(terminal, dumb bool, step int) string {
		var out bytes.Buffer
		s := newShown(&out, terminal, dumb)
		for p := []byte(hostile); len(p) > 0; p = p[min(step, len(p)):] {
			n, err := s.Write(p[:min(step, len(p))])
			require.NoError(t, err)
			assert.Equal(t, min(step, len(p)), n)
		}
		require.NoError(t, s.end())
		return out.String()
	}
	for _, step := range []int{1, 2, 3, 1000} {
		assert.Equal(t, "\x1b[31mred\n\x1b[0m", show(true, false, step))
		assert.Equal(t, "red\n", show(true, true, step))
		assert.Equal(t, hostile, show(false, false, step))
	}
}
