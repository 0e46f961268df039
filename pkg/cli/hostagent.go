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
		options: []option{{name: "check", help: "only say that it runs here"}},
	}
}

func runHostAgent(ctx context.Context, c *call, in *urfave.Context) error {
	if in.Bool("check") {
		return nil
	}
	c.progress.Close()
	return push.Serve(ctx, c.streams.In, c.deps.Terminal)
}
