package guest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"vmctl/pkg/fault"
)

// lost is the error for a guest that has not answered for a while; nil when there is still
// hope.
func (c *Change) lost(ctx context.Context, silent time.Duration) error {
	if running, err := c.Running(ctx); err == nil && !running {
		return fault.New(fault.Other, "%s stopped while its system was being changed; it boots the previous one", c.Machine).
			WithHint("vmctl start %[1]s boots it; vmctl logs %[1]s shows what it printed", c.Machine)
	}
	most := c.Limit + c.Lease + backTime
	if c.Limit == 0 {
		most += time.Hour
	}
	if silent < most {
		return nil
	}
	return fault.New(fault.Unreachable, "%s has not answered for %s since its system was changed", c.Machine, silent.Round(time.Second)).
		WithHint("vmctl console %[1]s gets in without the network; a restart boots the previous system: vmctl restart %[1]s", c.Machine)
}

// retreat takes a change back that was interrupted, unless it is too late for that.
func (c *Change) retreat(ctx context.Context) (trial, error) {
	patience := c.Lease + backTime
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	for asked := false; ; {
		t, err := c.status(ctx)
		switch {
		case err != nil:
		case t.word == trialDone:
			c.sweep(ctx)
			return t, fault.New(fault.Interrupted, "interrupted, but the new system of %s was in use already, and is kept", c.Machine).
				WithHint("vmctl rollback %s goes back", c.Machine)
		case t.word == trialReverted || t.word == trialNone:
			c.sweep(ctx)
			return t, fault.New(fault.Interrupted, "interrupted; %s runs its previous system", c.Machine)
		case !asked && t.word != trialKeeping:
			c.revert(ctx)
			asked = true
		}
		if pauseFor(ctx, c.Pace) != nil {
			return t, fault.New(fault.Interrupted, "interrupted; %s goes back to its previous system by itself", c.Machine)
		}
	}
}

// reverted says why the guest runs its old system again. cause is what this side saw.
func (c *Change) reverted(t trial, cause error) error {
	reason, detail, _ := strings.Cut(t.why, " ")
	back := fmt.Sprintf("%s runs its previous system again", c.Machine)
	if c.Mode == ModeBoot {
		back = "it boots its previous system"
	}
	var f *fault.Error
	switch {
	case cause != nil:
		f = fault.New(fault.KindOf(cause), "%s: %w", back, cause)
		if more, ok := errors.AsType[*fault.Error](cause); ok {
			return f.WithHint("%s", c.next()).WithDetails(more.Details())
		}
	case reason == "failed":
		f = fault.New(fault.Other, "the new system of %s could not be activated (switch-to-configuration ended with %s); %s", c.Machine, detail, back)
	case reason == "late":
		f = fault.New(fault.Timeout, "the new system of %s was not activated within %s; %s", c.Machine, c.Limit, back)
	case reason == "lost":
		f = fault.New(fault.Unreachable, "%s could not be reached with its new system, and went back by itself; %s", c.Machine, back)
	case reason == "not":
		f = fault.New(fault.Other, "the new system of %s could not be kept for its next boot; %s", c.Machine, back)
	default:
		f = fault.New(fault.Other, "the change of the system of %s was stopped in the guest; %s", c.Machine, back)
	}
	if t.log != "" {
		f = f.WithDetails("the last lines of its activation:\n  " + strings.ReplaceAll(t.log, "\n", "\n  "))
	}
	return f.WithHint("%s", c.next())
}

// next is what to do about a system that would not do.
func (c *Change) next() string {
	if c.Generation > 0 {
		return fmt.Sprintf("vmctl rollback --list %s shows the other generations", c.Machine)
	}
	return fmt.Sprintf("correct the configuration, and run vmctl apply %s again", c.Machine)
}
