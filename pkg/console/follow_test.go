package console

import (
	"context"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/fault"
)

func follow(ctx context.Context, log *machineLog, out io.Writer, stopped <-chan struct{}) <-chan error {
	done := make(chan error, 1)
	go func() {
		done <- Follow(ctx, FollowOptions{Read: log.read, Out: out, Stopped: stopped, Interval: time.Millisecond})
	}()
	return done
}

func TestLogsOnce(t *testing.T) {
	t.Parallel()
	log, out := &machineLog{}, &buffer{}
	log.add("boot\r\n\x1b[31mlogin: \x1b]0;x\a")
	require.NoError(t, <-follow(t.Context(), log, out, nil))
	assert.Equal(t, "boot\nlogin: ", out.String())
}

func TestFollowUntilStopped(t *testing.T) {
	t.Parallel()
	log, out, stopped := &machineLog{}, &buffer{}, make(chan struct{})
	log.add("one\n")
	done := follow(t.Context(), log, out, stopped)
	out.await(t, "one\n")
	log.add("two\x1b[3")
	out.await(t, "two")
	log.add("1m red\n")
	out.await(t, "two red\n")
	log.add("last words\n")
	close(stopped)
	require.NoError(t, <-done)
	assert.Equal(t, "one\ntwo red\nlast words\n", out.String())
}

func TestFollowSeesTheNextBoot(t *testing.T) {
	t.Parallel()
	for name, second := range map[string]string{
		"shorter":                 "second boot\n",
		"longer":                  "second boot, " + strings.Repeat("long ", 100) + "\n",
		"shorter than the anchor": "2\n",
	} {
		log, out, stopped := &machineLog{}, &buffer{}, make(chan struct{})
		first := "first boot " + strings.Repeat("x", 80) + "\n"
		log.add(first)
		done := follow(t.Context(), log, out, stopped)
		out.await(t, first)
		log.set(second, nil)
		out.await(t, second)
		close(stopped)
		require.NoError(t, <-done, name)
		assert.Equal(t, first+second, out.String(), name)
	}
}

func TestFollowEnds(t *testing.T) {
	t.Parallel()
	log, out := &machineLog{}, &buffer{}
	log.set("", fault.New(fault.NotFound, "no log"))
	require.True(t, fault.Is(<-follow(t.Context(), log, out, nil), fault.NotFound))

	log.set("text\n", nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := follow(ctx, log, out, make(chan struct{}))
	out.await(t, "text")
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)

	done = follow(t.Context(), log, out, make(chan struct{}))
	out.await(t, "text\ntext")
	log.set("", fault.New(fault.NotFound, "no log"))
	require.NoError(t, <-done, "the machine was taken down")

	log.set("text\n", nil)
	done = follow(t.Context(), log, out, make(chan struct{}))
	out.await(t, "text\ntext\ntext")
	log.set("", fault.New(fault.Unreachable, "gone"))
	require.True(t, fault.Is(<-done, fault.Unreachable))

	r, w, err := os.Pipe()
	require.NoError(t, err)
	require.NoError(t, r.Close())
	log.set("text\n", nil)
	require.NoError(t, <-follow(t.Context(), log, w, nil), "nobody reads")
	w.Close()
}
