package console

import (
	"bytes"
	"context"
	"io"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/ansi"
	"vmctl/pkg/fault"
)

// FuzzFollow reads a log that becomes another one between two looks: longer, shorter,
// begun anew or gone. What is printed is always harmless text.
func FuzzFollow(f *testing.F) {
	f.Add([]byte("boot\r\n"), []byte("boot\r\n\x1b]52;c;eA==\x07login: "))
	f.Add(bytes.Repeat([]byte("x"), 200), []byte("anew"))
	f.Add([]byte("\xc2"), []byte("\xc2\x9b2J"))
	f.Add([]byte("a\x1b["), []byte(nil))
	f.Fuzz(func(t *testing.T, first, then []byte) {
		var out bytes.Buffer
		log := first
		reader := &follower{out: ansi.NewWriter(&out), read: func(_ context.Context, offset int64) (io.ReadCloser, error) {
			if log == nil {
				return nil, fault.New(fault.NotFound, "gone")
			}
			return io.NopCloser(bytes.NewReader(log[min(int(offset), len(log)):])), nil
		}}
		for _, now := range [][]byte{first, then, first} {
			log = now
			if _, err := reader.step(t.Context()); err != nil {
				require.True(t, fault.Is(err, fault.NotFound), "%v", err)
				return
			}
			assert.Equal(t, int64(len(now)), reader.offset)
		}
		require.NoError(t, reader.end(nil))
		assert.True(t, utf8.Valid(out.Bytes()))
		assert.Equal(t, ansi.Plain(out.String()), out.String())
	})
}

// FuzzKnown: of a stream no more is taken for known than there is.
func FuzzKnown(f *testing.F) {
	f.Add([]byte("boot\n"), []byte("boot\nlogin: "), []byte("login: "), true)
	f.Add([]byte(nil), []byte("\x1b[2J"), bytes.Repeat([]byte("ab"), 40), false)
	f.Fuzz(func(t *testing.T, before, window, stream []byte, level bool) {
		n := known(before, window, stream, level)
		assert.GreaterOrEqual(t, n, 0)
		assert.LessOrEqual(t, n, len(before)+len(window)+len(stream))
	})
}
