package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/guest"
	"vmctl/pkg/spec"
)

// tendTime bounds what is done inside a guest for one volume: making a file system on a
// large disk takes a while.
const tendTime = time.Minute

// beforeDetach unmounts a volume before the guest has to let go of it. A guest without an
// agent, or one that knows no such thing, flushes the disk when it goes.
func (c *call) beforeDetach(host *engine.Host, machine string) func(ctx context.Context, serial string) error {
	return func(ctx context.Context, serial string) error {
		agent := c.agentOf(ctx, host, machine)
		if agent == nil {
			return nil
		}
		ctx, cancel := context.WithTimeout(ctx, tendTime)
		defer cancel()
		err := guest.UnmountVolume(ctx, agent, guestDevice(serial))
		if errors.Is(err, guest.ErrVolume) {
			return fault.New(fault.Refused, "volume %s stays attached: %w", serial, err).
				WithHint("stop what uses it in the guest, then run the same command again; or vmctl up --restart %s", machine)
		}
		return nil
	}
}

// agentOf is the agent in a running guest, or nil when none answers.
func (c *call) agentOf(ctx context.Context, host *engine.Host, machine string) *guest.Agent {
	if connected, err := host.Events.AgentConnected(ctx, machine); err != nil || !connected {
		return nil
	}
	return guest.NewAgent(host, machine)
}

// tendVolumes does inside of a guest that ran on what it would do by itself at its next
// boot: it mounts volumes that were attached, and grows file systems. That it cannot be
// done is no failure of up.
func (c *call) tendVolumes(ctx context.Context, host *engine.Host, m *spec.Machine, outcome *engine.Outcome) {
	if outcome.Started || len(m.Volumes) == 0 {
		return
	}
	did := func(action engine.Action, resource string) bool {
		return slices.ContainsFunc(outcome.Plan.Ops, func(o engine.Op) bool { return o.Action == action && o.Resource == resource })
	}
	for _, v := range m.Volumes {
		mount := v.Mount != "" && did(engine.ActionAttachDisk, v.Name)
		grow := did(engine.ActionResizeDisk, engine.DataVolume(m.Name, v.Name))
		if !mount && !grow {
			continue
		}
		if err := c.tendVolume(ctx, host, m.Name, v, mount); err != nil {
			todo := "the file system on it grows at the next boot, or by resize2fs, xfs_growfs or btrfs in the guest"
			if mount {
				todo = fmt.Sprintf("it is mounted at the next boot, or by hand: mount %s %s", v.Device(), v.Mount)
			}
			c.note(m.Name, fmt.Errorf("volume %s: %w; %s", v.Name, err, todo))
		}
	}
}

func (c *call) tendVolume(ctx context.Context, host *engine.Host, machine string, v spec.Volume, mount bool) error {
	agent := c.agentOf(ctx, host, machine)
	if agent == nil {
		return fault.New(fault.Refused, "no guest agent answers")
	}
	ctx, cancel := context.WithTimeout(ctx, tendTime)
	defer cancel()
	if mount {
		return guest.MountVolume(ctx, agent, guest.Mount{Device: v.Device(), Target: v.Mount, Type: string(v.Format), ReadOnly: v.ReadOnly})
	}
	return guest.GrowVolume(ctx, agent, v.Device())
}
