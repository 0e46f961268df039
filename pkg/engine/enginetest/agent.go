package enginetest

import (
	"context"
	"time"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
)

// AgentCommand implements engine.Agents. The guest answers outside of the host's lock:
// it may look at the host.
func (h *Host) AgentCommand(ctx context.Context, name, command string, _ time.Duration) (string, error) {
	answers, err := read(ctx, h, "AgentCommand", on(name), func() (func(string) (string, error), error) {
		d, err := h.running(name)
		switch {
		case err != nil:
			return nil, err
		case !d.guest.Agent || d.state != engine.StateRunning:
			return nil, &fault.Error{
				Kind: fault.Refused, Msg: "cannot ask the agent of domain " + name + ": no guest agent answers", Cause: engine.ErrNoAgent,
			}
		}
		return d.guest.Answers, nil
	})
	if err != nil {
		return "", err
	}
	if answers == nil {
		return "", &engine.AgentError{Command: "any", Reason: "this agent knows no command"}
	}
	return answers(command)
}
