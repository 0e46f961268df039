package guest_test

import (
	"context"
	"errors"
	"io"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/fault"
	"vmctl/pkg/guest"
)

// here runs what a guest would run on this machine, or fails as told.
type here struct {
	argv   []string
	status int
	said   string
	err    error
}

func (h *here) Run(ctx context.Context, c guest.Command) (int, error) {
	h.argv = c.Argv
	if h.said != "" || h.err != nil {
		_, _ = io.WriteString(c.Stderr, h.said)
		return h.status, h.err
	}
	cmd := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...)
	cmd.Stderr = c.Stderr
	err := cmd.Run()
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		return failed.ExitCode(), nil
	}
	return 0, err
}

// The script is one that a shell takes, and a disk that is nowhere mounted needs nothing.
func TestVolumeThatIsNotMounted(t *testing.T) {
	h := &here{}
	require.NoError(t, guest.UnmountVolume(t.Context(), h, "/dev/null"))
	assert.Equal(t, []string{"unmount", "/dev/null"}, h.argv[len(h.argv)-2:])
	require.NoError(t, guest.GrowVolume(t.Context(), h, "/dev/null"))
	require.NoError(t, guest.UnmountVolume(t.Context(), h, "/dev/disk/by-id/virtio-none"))
}

func TestVolumeThatIsInUse(t *testing.T) {
	h := &here{status: 1, said: "noise\numount: /data: target \x1b[1mis busy\n"}
	err := guest.UnmountVolume(t.Context(), h, "/dev/disk/by-id/virtio-data")
	require.EqualError(t, err, "the guest could not unmount /dev/disk/by-id/virtio-data: umount: /data: target is busy")
	require.ErrorIs(t, err, guest.ErrVolume)
	assert.Equal(t, fault.Refused, fault.KindOf(err))

	h = &here{err: errors.New("no agent")}
	err = guest.MountVolume(t.Context(), h, guest.Mount{Device: "/dev/x", Target: "/data", Type: "ext4", ReadOnly: true})
	require.EqualError(t, err, "no agent")
	assert.Equal(t, []string{"mount", "/dev/x", "/data", "ext4", "ro"}, h.argv[len(h.argv)-5:])
}
