package cli

import (
	"context"

	urfave "github.com/urfave/cli/v2"

	"vmctl/pkg/push"
)

// hostAgentCommand is what vmctl on another machine runs here, to bring an image: see
// package push.
func hostAgentCommand() *command {
	return &command{
		name: "host-agent", group: other, hidden: true, run: runHostAgent,
		summary: "Take an image that vmctl on another machine brings",
	}
}

func runHostAgent(ctx context.Context, c *call, _ *urfave.Context) error {
	c.progress.Close()
	return push.Serve(ctx, c.streams.In, c.deps.Terminal)
}
