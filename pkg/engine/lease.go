package engine

import (
	"context"
	"time"

	"vmctl/pkg/fault"
)

// Two clients have no lock in common, so that what one removes and what another begins
// to use is settled on the host itself, as two people at one door do it: each says first
// what they mean to do, and then looks whether the other has said something. Who is
// about to lay a root disk on an image makes a lease and then looks for an upload that
// is not doomed; who removes an upload dooms it and then looks for leases and root disks.
// Whoever sees the other stands back.

// staleAfter is how long another client's lease, or its upload that gets no bytes, is
// left alone. It is measured in the host's own time.
const staleAfter = time.Hour

// partingTime is how long an interrupted command waits for its lease to go. A line that is
// full, or dead, must not hold it.
const partingTime = 500 * time.Millisecond

// leaseOn is the name of the client's lease on an image.
func (e *Engine) leaseOn(image string) string {
	return baseName{id: image, role: leaseSuffix, client: e.Token.Client}.String()
}

// lease says to other clients that a root disk is about to be laid on an image. The
// caller has the image's lock, has seen whether a run that was killed left a lease, and
// looks for the image after this. The lease is given back also when ctx has ended.
func (e *Engine) lease(ctx context.Context, image string, left bool) (release func(), err error) {
	name := e.leaseOn(image)
	remove := func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
		defer cancel()
		// One that stays is the next up's, down's or prune's to remove.
		_ = e.Host.Volumes.DeleteVolume(ctx, name)
	}
	release = func() {
		if ctx.Err() == nil {
			remove()
			return
		}
		done := make(chan struct{})
		go func() { remove(); close(done) }()
		select {
		case <-done:
		case <-time.After(partingTime):
		}
	}
	if left { // it has to be young
		release()
	}
	if err := e.Host.Volumes.CreateVolume(ctx, name, "raw", 0); err != nil {
		if ctx.Err() != nil || fault.Is(err, fault.Unreachable) {
			release() // it may have been made all the same
		}
		return nil, err
	}
	return release, nil
}

// hostTime is the time on the host, whose clock need not go as the client's does: that
// of a file which the host makes. Zero when it cannot be known.
func (e *Engine) hostTime(ctx context.Context) (time.Time, error) {
	// Named as a lease on nothing: prune removes one that a killed run left.
	name := baseName{id: "clock", role: leaseSuffix, client: e.Token.String()}.String()
	if err := e.Host.Volumes.CreateVolume(ctx, name, "raw", 0); err != nil {
		return time.Time{}, err
	}
	v, err := found(e.Host.Volumes.Volume(ctx, name))
	remove, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
	defer cancel()
	_ = e.Host.Volumes.DeleteVolume(remove, name)
	if err != nil || v == nil {
		return time.Time{}, err
	}
	return v.Modified, nil
}
