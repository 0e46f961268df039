package guest

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"

	"vmctl/pkg/ansi"
	"vmctl/pkg/fault"
)

//go:embed volume.sh
var volumeSource string

// ErrVolume is in errors that the guest itself gave: it understood, and could not.
var ErrVolume = errors.New("the guest could not")

// Mount is where a guest mounts a disk.
type Mount struct {
	// Device is the disk, Target the directory, Type the file system.
	Device, Target, Type string
	ReadOnly             bool
}

// MountVolume mounts a disk that was attached while the guest runs, now; at its next boot
// the guest does so by itself. A disk that begins with a MiB of zeros is empty, and gets its
// file system first.
func MountVolume(ctx context.Context, in Runner, m Mount) error {
	options := "rw"
	if m.ReadOnly {
		options = "ro"
	}
	return tend(ctx, in, "mount", m.Device, m.Target, m.Type, options)
}

// UnmountVolume takes a disk out of the guest's file systems, so that it can be detached. It is
// refused (fault.Refused) while something in the guest uses it.
func UnmountVolume(ctx context.Context, in Runner, device string) error {
	return tend(ctx, in, "unmount", device)
}

// GrowVolume makes the file system on a disk as large as the disk has become, if it is mounted.
func GrowVolume(ctx context.Context, in Runner, device string) error {
	return tend(ctx, in, "grow", device)
}

func tend(ctx context.Context, in Runner, words ...string) error {
	said := &ending{most: 4 << 10}
	status, err := in.Run(ctx, Command{Argv: script(comments.ReplaceAllString(volumeSource, ""), words...), Stderr: said})
	if err != nil {
		return err
	}
	if status == 0 {
		return nil
	}
	why := strings.TrimSpace(ansi.Plain(said.String()))
	if why == "" {
		why = "it does not say why"
	}
	lines := strings.Split(why, "\n")
	return &fault.Error{
		Kind: fault.Refused, Cause: ErrVolume,
		Msg: fmt.Sprintf("the guest could not %s %s: %s", words[0], words[1], lines[len(lines)-1]),
	}
}

// ending keeps the end of what is written.
type ending struct {
	bytes.Buffer
	most int
}

func (t *ending) Write(p []byte) (int, error) {
	_, _ = t.Buffer.Write(p) // never fails
	if over := t.Len() - t.most; over > 0 {
		t.Next(over)
	}
	return len(p), nil
}
