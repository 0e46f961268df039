package cli

import (
	"context"
	"time"

	urfave "github.com/urfave/cli/v2"

	"vmctl/pkg/engine"
)

func startCommand() *command {
	return &command{
		name: "start", group: lifecycle, takes: someMachines, run: runStart,
		summary: "Boot machines that were stopped",
		about: []string{
			"Boots the machine as it was defined last and waits until the guest is ready. The definition is not read: " +
				"vmctl up brings the machine up to date.",
		},
		options:  append([]option{allOption("start all machines of the project")}, startOptions()...),
		examples: []example{{"vmctl start example", ""}, {"vmctl start --console example", "watch it boot; Ctrl-] leaves"}},
		json:     startJSON,
	}
}

const startJSON = `{
  "machines": [
    {
      "name": "example",
      "host": "qemu:///session",
      "started": true,
      "ready": "it asks for a login",
      "console": "vmctl console example",
      "ports": [],
      "addresses": []
    }
  ]
}`

func startOptions() []option {
	return []option{
		{name: "console", help: "attach to the serial console before the guest's first instruction"},
		{name: "no-wait", help: "do not wait until the guest is ready"},
		{name: "timeout", kind: isDuration, value: "TIME", preset: "5m", help: "how long the guest may take to become ready; 0 is no limit"},
	}
}

// startResult is what start and restart tell of one machine.
type startResult struct {
	Name    string `json:"name"`
	Host    string `json:"host"`
	Started bool   `json:"started"`
	Ready   string `json:"ready"`
	reach
	// resumed says that the guest was paused.
	resumed bool
}

func parseWaiting(in *urfave.Context) waiting {
	return waiting{console: in.Bool("console"), none: in.Bool("no-wait"), timeout: in.Duration("timeout")}
}

func runStart(ctx context.Context, c *call, in *urfave.Context) error {
	w := parseWaiting(in)
	names, err := c.declaredNames(in)
	if err != nil {
		return err
	}
	if err := c.oneConsole(w, names); err != nil {
		return err
	}
	done, err := several(ctx, c, names, func(c *call, name string) (*startResult, error) {
		t, e, err := c.open(ctx, name)
		if err != nil {
			return nil, err
		}
		if err := c.elsewhere(ctx, t, e); err != nil {
			return nil, err
		}
		return c.start(ctx, name, w)
	})
	return results(c, done, err)
}

func (c *call) start(ctx context.Context, name string, w waiting) (*startResult, error) {
	began := time.Now()
	t, e, err := c.open(ctx, name)
	if err != nil {
		return nil, err
	}
	attached := &attachment{host: e.Host, name: name}
	defer attached.close()
	var beforeBoot func(context.Context) error
	if w.console {
		beforeBoot = attached.beforeBoot
	}
	if t.machine == nil {
		if d, err := e.Managed(ctx, name); err == nil {
			c.lost(t, d)
		}
	}
	var did engine.Started
	err = c.settled(ctx, t, e, func() (err error) {
		did, err = e.Start(ctx, name, engine.StartOptions{BeforeBoot: beforeBoot, Delivery: c.delivery(t)})
		return err
	})
	if err != nil {
		return nil, c.known(ctx, t, e, err)
	}
	r := &startResult{Name: name, Host: e.Host.URI, Started: did.Booted, resumed: did.Resumed, reach: c.reachOf(name, nil)}
	x := expected{
		attachment: attached, watched: watched{e, name, did.Delivering}, started: did.Booted,
		network: did.Record.Network, ports: did.Record.Ports,
	}
	if t.machine != nil {
		x.ready = t.machine.Ready
	}
	c.waits()
	stopped, err := c.follow(ctx, x, w, &r.Ready)
	if err != nil || stopped {
		return r, err
	}
	if r.Ready != "" {
		c.waitAddress(ctx, e.Host, name, did.Record.Network)
	}
	r.reach = c.reach(ctx, e.Host, name, did.Record.Network, did.Record.Ports, t.machine)
	c.sayStart(r, time.Since(began))
	return r, nil
}

// sayStart tells a person how a start ended.
func (c *call) sayStart(r *startResult, took time.Duration) {
	switch {
	case r.resumed:
		c.sayDone("%s runs again: it was paused", r.Name)
		return
	case !r.Started:
		c.sayDone("%s was running already", r.Name)
		return
	}
	c.sayUp(&upResult{Name: r.Name, Changed: true, Started: true, Ready: r.Ready, reach: r.reach}, took)
}

func restartCommand() *command {
	return &command{
		name: "restart", group: lifecycle, takes: someMachines, run: runRestart,
		summary: "Power machines off and boot them again",
		about: []string{
			"Does what vmctl stop and vmctl start do. Changes that waited for the next boot take effect.",
		},
		options: append([]option{
			allOption("restart all machines of the project"),
			{name: "stop-timeout", kind: isDuration, value: "TIME", preset: "60s", help: "how long the guest may take to power off before it is switched off"},
			{name: "force", help: "switch the guest off at once, as pulling the plug does"},
		}, startOptions()...),
		examples: []example{{"vmctl restart example", ""}},
		json:     startJSON,
	}
}

func runRestart(ctx context.Context, c *call, in *urfave.Context) error {
	w := parseWaiting(in)
	names, err := c.declaredNames(in)
	if err != nil {
		return err
	}
	if err := c.oneConsole(w, names); err != nil {
		return err
	}
	o := engine.DownOptions{Timeout: in.Duration("stop-timeout"), Force: in.Bool("force")}
	done, err := several(ctx, c, names, func(c *call, name string) (*startResult, error) {
		if _, err := c.stop(ctx, name, o); err != nil {
			return nil, err
		}
		return c.start(ctx, name, w)
	})
	return results(c, done, err)
}
