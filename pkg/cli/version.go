package cli

import (
	"context"
	"fmt"
	"runtime"

	urfave "github.com/urfave/cli/v2"

	"vmctl/pkg/ui"
)

func versionCommand() *command {
	return &command{
		name: "version", group: other, run: runVersion,
		summary: "Show the version",
		about:   []string{"The versions of libvirt, QEMU and nix are in vmctl doctor."},
		json: `{
  "version": "1.2.3",
  "go": "go1.26.8",
  "platform": "linux/amd64"
}`,
	}
}

// versionResult is what version tells.
type versionResult struct {
	Version  string `json:"version"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func runVersion(_ context.Context, c *call, _ *urfave.Context) error { return showVersion(c) }

func showVersion(c *call) error {
	platform := runtime.GOOS + "/" + runtime.GOARCH
	if c.json() {
		return ui.JSON(c.streams, versionResult{c.deps.Version, runtime.Version(), platform})
	}
	return c.print(fmt.Sprintf("vmctl %s (%s, %s)\n", c.deps.Version, platform, runtime.Version()))
}
