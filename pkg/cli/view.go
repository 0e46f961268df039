package cli

import (
	"context"

	urfave "github.com/urfave/cli/v2"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/screen"
	"vmctl/pkg/ui"
)

func viewCommand() *command {
	return &command{
		name: "view", group: look, takes: oneMachine, run: runView,
		summary: "Show a machine's screen",
		about: []string{
			"Opens virt-viewer (or remote-viewer) on the screen of a running guest that has graphics: vnc or spice in its definition, " +
				"until it is closed. Without such a program, or without a display, it prints the screen's address, " +
				"and how to reach it on a host that is reached by ssh.",
		},
		options: []option{
			{name: "address", help: "only print where the screen is served"},
		},
		examples: []example{{"vmctl view example", ""}, {"vmctl view --address example", "for another viewer"}},
		json: `{
  "name": "example",
  "kind": "vnc",
  "address": "127.0.0.1",
  "port": 5900,
  "url": "vnc://127.0.0.1:5900",
  "tunnel": "ssh -N -L 5900:127.0.0.1:5900 me@server.example.org"
}`,
	}
}

// viewResult is where a screen is served. Address and port are the host's own.
type viewResult struct {
	Name    string `json:"name"`
	Kind    string `json:"kind"`
	Address string `json:"address"`
	Port    uint16 `json:"port"`
	URL     string `json:"url"`
	// Tunnel is the command that makes the address this machine's, too.
	Tunnel string `json:"tunnel,omitempty"`
}

func runView(ctx context.Context, c *call, in *urfave.Context) error {
	name := c.line.args[0]
	_, e, d, err := c.observe(ctx, name)
	if err != nil {
		return err
	}
	if err := c.drawing(d); err != nil {
		return err
	}
	s, err := e.Host.Screens.Screen(ctx, name)
	if err != nil {
		return noScreen(name, err)
	}
	c.progress.Close()
	r := viewResult{name, s.Kind, s.Address, s.Port, screen.URL(s), screen.Tunnel(e.Host.URI, s)}
	if c.json() {
		return ui.JSON(c.streams, r)
	}
	if !in.Bool("address") {
		if argv := screen.Viewer(e.Host, name, s, c.streams.Getenv); argv != nil {
			return screen.Show(ctx, argv)
		}
	}
	if err := c.print(r.URL + "\n"); err != nil || in.Bool("address") {
		return err
	}
	switch {
	case r.Tunnel != "":
		c.say("that is on the host; to reach it from here: " + r.Tunnel)
	case !e.Host.Local:
		c.say("that is on " + e.Host.URI + ", which serves it to itself only")
	}
	c.say("no viewer was opened: that takes a display, and virt-viewer")
	return nil
}

// drawing refuses a guest that is off, which has no screen to look at.
func (c *call) drawing(d *engine.Domain) error {
	if d.State.Active() {
		return nil
	}
	return fault.New(fault.Refused, "%s is %s and has no screen", d.Name, d.State).WithHint("vmctl start %s", d.Name)
}

// noScreen says how a guest without a screen gets one.
func noScreen(name string, err error) error {
	if !fault.Is(err, fault.NotFound) {
		return err
	}
	return fault.New(fault.NotFound, "%s has no screen", name).
		WithHint("write graphics: vnc in the definition, then vmctl up --restart %[1]s; vmctl console %[1]s shows its serial console", name)
}
