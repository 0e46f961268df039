package cli

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"vmctl/pkg/ui"
)

func TestWhatIsSaidDrivesNoTerminal(t *testing.T) {
	var said bytes.Buffer
	c := newCall(&Deps{Streams: ui.Fixed(strings.NewReader(""), io.Discard, &said, 80)}, &line{})
	c.sayUp(&upResult{Name: "example", Pending: []string{"network \u009b2J\x1b]0;title\x07lab → user"}}, time.Second)
	assert.Equal(t, "example is up to date\n  waits for the next boot: network lab → user\n  vmctl up --restart example restarts it now\n", said.String())
}
