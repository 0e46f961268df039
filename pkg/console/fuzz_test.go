package console

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
)

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
