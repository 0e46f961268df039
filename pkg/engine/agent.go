package engine

import (
	"context"
	"errors"
	"time"
)

// ErrNoAgent is matched by errors which say that no agent in the guest answers: there
// is none, it has not started yet, or it keeps silent.
var ErrNoAgent = errors.New("no guest agent answers")

// AgentError is what a guest's agent answered in place of a result.
type AgentError struct {
	// Command is the agent's command, such as guest-file-open.
	Command string
	// Reason is the guest's text, made printable.
	Reason string
}

// Error gives the guest's reason.
func (e *AgentError) Error() string { return e.Reason }

// Agents speaks with the agents inside of guests.
type Agents interface {
	// AgentCommand sends one command, a JSON text, and gives the reply, which is the
	// guest's and may be anything. The error matches ErrNoAgent when nobody answers within
	// the timeout, and is an *AgentError when the agent refuses. The timeout is this
	// command's alone and counts in whole seconds.
	AgentCommand(ctx context.Context, domain, command string, timeout time.Duration) (string, error)
}
