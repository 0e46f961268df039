package engine

import (
	"context"
	"errors"
	"os"
)

// Pusher is another way for an image to a host than through libvirt, where a host has one:
// it sends only what the host has not got.
type Pusher interface {
	// Prepare begins to reach the host, which then looks at what it has in a pool's directory,
	// and does not wait for that: other things can be done meanwhile. What goes wrong, Push says.
	Prepare(ctx context.Context, pool string) Pushing
}

// Pushing is the way of images to one pool.
type Pushing interface {
	// Push makes the file of a volume, which is there, what the image is. What is in the
	// file already is kept where it is right. An error in which ErrOtherWay is says that
	// this way is none, and another has to be gone; a lost connection is
	// fault.Unreachable, after which Push can be called again.
	Push(ctx context.Context, p Push) error
	// End gives up what was prepared.
	End()
}

// ErrOtherWay is in errors of a Pusher that cannot push.
var ErrOtherWay = errors.New("the image has to go through libvirt")

// Push says what to push.
type Push struct {
	// Volume is the volume's name.
	Volume string
	Image  *os.File
	Size   int64
	// SHA256 is the image's digest in hex; empty when nobody knows it yet.
	SHA256 string
	// Begin is called when there is another end, before anything is written there.
	Begin func() error
	// Report is called with how much of the image is on the host.
	Report func(arrived int64)
}
