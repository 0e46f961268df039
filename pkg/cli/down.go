package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	urfave "github.com/urfave/cli/v2"

	"vmctl/pkg/engine"
)

func downCommand() *command {
	return &command{
		name: "down", group: lifecycle, takes: someMachines, run: runDown,
		summary: "Stop machines and remove what up made for them",
		about: []string{
			"Asks the guest to power off and waits for it, then removes the domain, its root disk and what libvirt keeps " +
				"beside it. A guest that has not obeyed when the time is up is switched off. What is in the root disk is lost.",
			"Data volumes stay, and the next up finds them again. --volumes deletes them, too, after asking; it deletes nothing that " +
				"vmctl did not make, such as block devices and volumes of other pools.",
			"A machine that is not there is no error: there is nothing left to do.",
		},
		options: append([]option{
			allOption("remove all machines of the project"),
			{name: "volumes", help: "delete the data volumes, too, with all that is in them"}, yesOption(),
		}, haltOptions()...),
		examples: []example{{"vmctl down example", "shut it down and remove it"}, {"vmctl down --force example", "without asking the guest"}},
		json: `{
  "machines": [
    {
      "name": "example",
      "host": "qemu:///session",
      "existed": true,
      "halted": "shut down",
      "volumes": ["example.0e7a….root.qcow2"],
      "kept": ["example/data"]
    }
  ]
}`,
	}
}

// haltOptions say how long a guest may take to power off.
func haltOptions() []option {
	return []option{
		{name: "timeout", kind: isDuration, value: "TIME", preset: "60s", help: "how long the guest may take to power off before it is switched off"},
		{name: "force", help: "switch the guest off at once, as pulling the plug does"},
	}
}

func parseHalt(in *urfave.Context) engine.DownOptions {
	return engine.DownOptions{Timeout: in.Duration("timeout"), Force: in.Bool("force")}
}

// downResult is what down tells of one machine.
type downResult struct {
	Name    string   `json:"name"`
	Host    string   `json:"host"`
	Existed bool     `json:"existed"`
	Halted  string   `json:"halted"`
	Volumes []string `json:"volumes"`
	// Kept are the data volumes that stay.
	Kept []string `json:"kept"`
}

func runDown(ctx context.Context, c *call, in *urfave.Context) error {
	o := parseHalt(in)
	o.Volumes = in.Bool("volumes")
	names, err := c.declaredNames(in)
	if err != nil {
		return err
	}
	if o.Volumes && !in.Bool("yes") {
		if err := c.mayDelete(ctx, names); err != nil {
			return err
		}
	}
	done, err := several(ctx, c, names, func(c *call, name string) (*downResult, error) { return c.down(ctx, name, o) })
	return results(c, done, err)
}

func (c *call) down(ctx context.Context, name string, o engine.DownOptions) (*downResult, error) {
	began := time.Now()
	t, e, err := c.open(ctx, name)
	if err != nil {
		return nil, err
	}
	// Nothing uses its images then, wherever they came from.
	o.Gone = func(base string) {
		if err := errors.Join(c.dropMachineRoots(e.Host.URI, name), c.dropThere(ctx, e, name, base)); err != nil {
			c.note(name, err)
		}
		c.dropBuildRoots(t)
	}
	var removal *engine.Removal
	w, move, err := c.settle(ctx, t, e, func() (err error) {
		removal, err = e.Down(ctx, name, o)
		return err
	})
	if err == nil && w.Arrived {
		return c.downArrived(ctx, t, move)
	}
	if err != nil {
		return nil, err
	}
	c.dropReport(e.Host.URI, name)
	c.dropApplied(e.Host.URI, name)
	c.forgetHostKey(t)
	result := &downResult{Name: name, Host: e.Host.URI, Existed: removal.Existed, Halted: removal.Halted, Volumes: removal.Volumes}
	if result.Volumes == nil {
		result.Volumes = []string{}
	}
	result.Kept = []string{}
	for _, v := range removal.Kept {
		result.Kept = append(result.Kept, v.String())
	}
	if removal.Copies {
		c.sayDone("%s was on its way to %s, and had not arrived: what had come is removed", name, e.Host.URI)
		return result, nil
	}
	if removal.Existed {
		c.sayDone("%s is down: %s", name, halted(removal.Halted, began))
		c.sayKept(removal.Kept)
		return result, nil
	}
	defer c.sayKept(removal.Kept)
	text := fmt.Sprintf("%s is not on %s: nothing to remove", name, e.Host.URI)
	if t.machine == nil {
		text += nearest(name, c.names(ctx, t.project, e), " (did you mean %s?)", "")
	}
	c.sayDone("%s", text)
	return result, nil
}

// downArrived removes what is left of a machine that is on another host now. The machine
// itself stays.
func (c *call) downArrived(ctx context.Context, t *target, m *engine.Move) (*downResult, error) {
	if err := c.finishMove(ctx, t, m); err != nil {
		return nil, err
	}
	c.sayDone("%s is on %s now, where it stays; what it had left on %s is removed", t.name, m.ToName, m.FromName)
	return &downResult{Name: t.name, Host: m.From.Host.URI, Existed: true, Halted: engine.HaltedAlready, Volumes: []string{}, Kept: []string{}}, nil
}
