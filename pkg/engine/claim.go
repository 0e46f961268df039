package engine

import (
	"context"
	"slices"
	"time"

	"vmctl/pkg/fault"
)

// claimTime is how long an image that somebody is about to remove may be in doubt: they look
// once more, and then either remove it or let it be.
const (
	claimTime  = 5 * time.Second
	claimAgain = 100 * time.Millisecond
)

// claim lays a root disk on an uploaded image and makes sure that it lies on something. A
// lease holds no longer than an hour, or until a clock jumps: who removes the image after that looks for root
// disks, too, and who lays one looks once more whether the image is there.
func (e *Engine) claim(ctx context.Context, image, root string, lay step) error {
	if err := lay(ctx, e); err != nil {
		return err
	}
	err := e.claimed(ctx, image)
	if err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
		defer cancel()
		_ = e.Host.Volumes.DeleteVolume(ctx, root) // down knows it by its name
	}
	return err
}

// claimed waits until nobody is about to remove an upload, and says when it has gone.
func (e *Engine) claimed(ctx context.Context, volume string) error {
	deadline := time.Now().Add(claimTime)
	for {
		n, _ := parseBase(volume)
		names, err := e.Host.Volumes.KnownVolumes(ctx, basePrefix+n.id+".")
		if err != nil {
			return err
		}
		var copies []*baseCopy
		for _, b := range basesNamed(names) {
			copies = append(copies, b.copies...)
		}
		i := slices.IndexFunc(copies, func(c *baseCopy) bool { return c.name == n })
		switch {
		case i < 0 || !copies[i].whole() || time.Now().After(deadline):
			return fault.New(fault.Refused, "image %s was removed from %s by another vmctl at the same moment", shortID(n.id), e.Host.URI).
				WithHint("run the same command again")
		case !copies[i].beingRemoved(e.Token.Client):
			return nil
		}
		select {
		case <-ctx.Done():
			return ended(ctx)
		case <-time.After(claimAgain):
		}
	}
}
