package cli

import (
	"context"
	"fmt"
	"time"

	urfave "github.com/urfave/cli/v2"

	"vmctl/pkg/engine"
	"vmctl/pkg/ui"
)

func stopCommand() *command {
	return &command{
		name: "stop", group: lifecycle, takes: someMachines, run: runStop,
		summary: "Power machines off and keep everything",
		about: []string{
			"Asks the guest to power off, by its agent where one answers, else by the power button, and waits for it. " +
				"The domain and its disks stay; vmctl start boots it again.",
		},
		options:  append([]option{allOption("stop all machines of the project")}, haltOptions()...),
		examples: []example{{"vmctl stop example", ""}, {"vmctl stop --timeout 10s example", "switch it off when it takes longer"}},
		json: `{
  "machines": [
    { "name": "example", "host": "qemu:///session", "halted": "shut down" }
  ]
}`,
	}
}

// stopResult is what stop tells of one machine.
type stopResult struct {
	Name   string `json:"name"`
	Host   string `json:"host"`
	Halted string `json:"halted"`
}

func runStop(ctx context.Context, c *call, in *urfave.Context) error {
	o := parseHalt(in)
	names, err := c.declaredNames(in)
	if err != nil {
		return err
	}
	done, err := several(ctx, c, names, func(c *call, name string) (*stopResult, error) { return c.stop(ctx, name, o) })
	return results(c, done, err)
}

func (c *call) stop(ctx context.Context, name string, o engine.DownOptions) (*stopResult, error) {
	began := time.Now()
	t, e, err := c.open(ctx, name)
	if err != nil {
		return nil, err
	}
	how, err := e.Stop(ctx, name, o)
	if err != nil {
		return nil, c.known(ctx, t, e, err)
	}
	c.sayDone("%s is off: %s", name, halted(how, began))
	return &stopResult{Name: name, Host: e.Host.URI, Halted: how}, nil
}

// halted says how a guest came to be off, and how long it took.
func halted(how string, began time.Time) string {
	switch how {
	case engine.HaltedGraceful:
		return "it shut down in " + ui.Duration(time.Since(began))
	case engine.HaltedDestroyed:
		return "it was switched off"
	default:
		return "it was off already"
	}
}

// sayDone says how something ended, beneath the progress shown until now.
func (c *call) sayDone(format string, args ...any) {
	c.saying.Lock()
	defer c.saying.Unlock()
	c.progress.Pause()
	c.say(fmt.Sprintf(format, args...))
	c.progress.Resume()
}
