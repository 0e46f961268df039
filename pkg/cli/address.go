package cli

import (
	"context"
	"time"

	"vmctl/pkg/engine"
	"vmctl/pkg/progress"
	"vmctl/pkg/spec"
)

const (
	// addressTime is how long a guest that is ready may take to get an address: its
	// agent may answer before its DHCP client has asked.
	addressTime = 10 * time.Second
	// addressLook is how often is asked: libvirt has no event for it.
	addressLook = 500 * time.Millisecond
)

// onNetwork says that the guest has an address on a network of the host.
func onNetwork(network string) bool {
	return network != "" && network != spec.NetworkNone && network != spec.NetworkUser
}

// waitAddress waits until a guest that has just become ready has an address. One that
// gets none is ready all the same.
func (c *call) waitAddress(ctx context.Context, host *engine.Host, name, network string) {
	if !onNetwork(network) {
		return
	}
	event := progress.Event{ID: name + "/address", Text: "wait until " + name + " has an address", Status: progress.Skipped, Detail: "it has none yet"}
	begun := event
	begun.Status, begun.Detail = progress.Working, ""
	ctx, cancel := context.WithTimeout(ctx, addressTime)
	defer cancel()
	tick := time.NewTicker(addressLook)
	defer tick.Stop()
	for first := true; ; first = false {
		addresses, err := host.Networks.Addresses(ctx, name)
		if err != nil || len(addresses) > 0 {
			if !first && len(addresses) > 0 {
				event.Status, event.Detail = progress.Done, addresses[0]
			}
			if !first {
				c.progress.Emit(event)
			}
			return
		}
		if first {
			c.progress.Emit(begun)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			c.progress.Emit(event)
			return
		}
	}
}
