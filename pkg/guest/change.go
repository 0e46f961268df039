package guest

import (
	"context"
	"crypto/rand"
	"errors"
	"strconv"
	"strings"
	"time"

	"vmctl/pkg/ansi"
	"vmctl/pkg/fault"
	"vmctl/pkg/progress"
)

// Mode says what becomes of a guest's new system.
type Mode string

// The modes, in the words of NixOS's switch-to-configuration.
const (
	// ModeSwitch activates it and lets it boot next.
	ModeSwitch Mode = "switch"
	// ModeTest only activates it.
	ModeTest Mode = "test"
	// ModeBoot only lets it boot next.
	ModeBoot Mode = "boot"
)

// Way gets into a guest as root. It finds the way anew each time: an address may change
// with the system.
type Way func(ctx context.Context) (Runner, error)

// Change brings a guest to another system, and the guest back when that does not do.
//
// A unit in the guest tries the new system without keeping it: what boots next stays the
// old one until this side has seen the guest ready and has got in again over the network.
// When that does not come about, or nobody asks the unit for a while, it activates the old
// system again by itself: no connection is needed for that.
type Change struct {
	Machine string
	// System is the store path of the new system, which is in the guest already.
	System string
	// Generation is the number under which the guest has kept the system; 0 makes a new one.
	Generation int
	Mode       Mode
	// Limit is how long the activation may take; 0 is no limit.
	Limit time.Duration
	// Lease is how long the guest waits for a sign of this side, and Pace how often it is
	// asked; 0 is the usual time.
	Lease, Pace time.Duration
	// Network is the way that has to work with the new system, too. Spare is another one,
	// which may fail at any time; nil is none.
	Network, Spare Way
	// Running says whether the guest runs at all.
	Running func(ctx context.Context) (bool, error)
	// Ready waits until the guest shows that it is ready.
	Ready func(ctx context.Context) error
	Sink  progress.Sink

	// id tells this change from others, and from what an earlier one has left.
	id string
}

const (
	// leaseTime is the usual lease: an ssh server or a network may take so long to come back.
	leaseTime = 45 * time.Second
	// callTime bounds one question to the guest.
	callTime = 20 * time.Second
	// backTime is how long a guest may take to go back, once it has begun to.
	backTime = 2 * time.Minute
	// askAgain is how often the guest is asked how it stands.
	askAgain = time.Second
)

// The words with which the unit says how it stands.
const (
	trialWaiting  = "waiting"
	trialKeeping  = "keeping"
	trialDone     = "done"
	trialReverted = "reverted"
	trialNone     = "none"
)

// trial is how the unit stands: its word, what is behind that, and the end of its log.
type trial struct{ word, why, log string }

// Run makes the change. When it fails the guest runs its old system again, unless the error
// says otherwise. The log is what the activation printed.
func (c *Change) Run(ctx context.Context) (log string, err error) {
	if c.Lease == 0 {
		c.Lease = leaseTime
		if c.Limit > 0 {
			c.Lease = max(5*time.Second, min(c.Lease, c.Limit))
		}
	}
	c.id = rand.Text()
	if c.Pace == 0 {
		c.Pace = askAgain
	}
	event := progress.Event{ID: c.Machine + "/system", Text: "change the system of " + c.Machine}
	switch c.Mode {
	case ModeBoot:
		event.Text = "let " + c.Machine + " boot another system"
	case ModeTest:
		event.Text = "try another system in " + c.Machine
	}
	c.Sink.Emit(event)
	end, err := c.run(ctx)
	event.Status = progress.Done
	if err != nil {
		event.Status, event.Err = progress.Failed, err
	}
	c.Sink.Emit(event)
	return end.log, err
}

func (c *Change) run(ctx context.Context) (trial, error) {
	seconds := func(d time.Duration) string { return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10) }
	err := c.call(ctx, c.Network, nil, "begin", c.id, systemScript(), string(c.Mode), c.System,
		strconv.Itoa(c.Generation), seconds(c.Limit), seconds(c.Lease))
	if err != nil && errors.Is(err, ErrSystem) {
		return trial{}, err
	}
	var cause error
	if err != nil {
		// It may have begun all the same.
		cause = err
		c.revert(ctx)
	}
	seen := false
	for heard := time.Now(); ; {
		t, err := c.status(ctx)
		switch {
		case ctx.Err() != nil:
			return c.retreat(ctx)
		case err != nil && cause != nil && !seen:
			return t, cause
		case err != nil:
			if lost := c.lost(ctx, time.Since(heard)); lost != nil {
				return t, errors.Join(lost, cause)
			}
		default:
			heard, seen = time.Now(), true
		}
		switch t.word {
		case trialDone:
			c.sweep(ctx)
			return t, nil
		case trialReverted:
			c.sweep(ctx)
			return t, c.reverted(t, cause)
		case trialNone:
			if cause != nil {
				return t, cause
			}
			return t, fault.New(fault.Other, "%s was rebooted while its system was being changed, and has booted the previous one", c.Machine).
				WithHint("vmctl logs %s shows what it printed", c.Machine)
		case trialWaiting:
			if cause == nil {
				if cause = c.witness(ctx); cause != nil && ctx.Err() == nil {
					c.revert(ctx)
				}
			}
		}
		if pauseFor(ctx, c.Pace) != nil {
			return c.retreat(ctx)
		}
	}
}

// witness waits until the guest is ready with its new system, and confirms it over the
// network.
func (c *Change) witness(ctx context.Context) error {
	if c.Ready != nil {
		waiting, stop := context.WithCancel(ctx)
		defer stop()
		ready := make(chan error, 1)
		go func() {
			ready <- c.Ready(waiting)
			close(ready)
		}()
		for waits := true; waits; {
			select {
			case err := <-ready:
				if err != nil {
					return err
				}
				waits = false
			case <-time.After(c.Pace):
				// The guest goes back when nobody asks.
				if t, err := c.status(ctx); err == nil && t.word != trialWaiting {
					stop()
					for range ready { // until the wait has ended
						continue
					}
					return nil
				}
			}
		}
	}
	var err error
	for until := time.Now().Add(c.Lease); ctx.Err() == nil; {
		if err = c.call(ctx, c.Network, nil, "confirm", c.id); err == nil {
			return nil
		}
		if errors.Is(err, ErrSystem) {
			return nil // it does not wait any more: its state says why
		}
		if time.Now().After(until) {
			return fault.New(fault.Unreachable, "%s can no longer be reached: %w", c.Machine, err)
		}
		_, _ = c.status(ctx)
		_ = pauseFor(ctx, c.Pace)
	}
	return ctx.Err()
}

// status asks how the trial stands, by whichever way works.
func (c *Change) status(ctx context.Context) (trial, error) {
	var out bounded
	err := c.anyhow(ctx, &out, "status", c.id)
	if err != nil {
		return trial{}, err
	}
	return parseTrial(out.String()), nil
}

// maxWhy and maxLog are the most that is kept of what a unit says of itself.
const (
	maxWhy = 40
	maxLog = 4 << 10
)

func parseTrial(text string) trial {
	first, rest, _ := strings.Cut(ansi.Plain(text), "\n")
	word, why, _ := strings.Cut(strings.TrimSpace(first), " ")
	if len(why) > maxWhy {
		why = ""
	}
	rest = strings.ToValidUTF8(rest[max(0, len(rest)-maxLog):], "")
	return trial{word, why, strings.TrimSpace(rest)}
}

// revert asks the guest to go back. It does so by itself when that does not reach it.
func (c *Change) revert(ctx context.Context) { _ = c.anyhow(ctx, nil, "revert", c.id) }

func (c *Change) sweep(ctx context.Context) { _ = c.anyhow(ctx, nil, "forget", c.id) }

// anyhow runs the script by the spare way, else over the network.
func (c *Change) anyhow(ctx context.Context, out *bounded, words ...string) error {
	if c.Spare != nil {
		if err := c.call(ctx, c.Spare, out, words...); err == nil {
			return nil
		}
	}
	return c.call(ctx, c.Network, out, words...)
}

func (c *Change) call(ctx context.Context, way Way, out *bounded, words ...string) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	in, err := way(ctx)
	if err != nil {
		return err
	}
	var said bounded
	if err := systemCall(ctx, in, &said, words...); err != nil {
		return err
	}
	if out != nil {
		*out = said
	}
	return nil
}
