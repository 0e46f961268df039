package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"vmctl/pkg/ansi"
	"vmctl/pkg/engine"
)

func planCommand() *command {
	return &command{
		name: "plan", group: look, takes: someMachines, run: runPlan,
		summary: "Show what up would do, changing nothing",
		about: []string{
			"Builds the image when it has to, looks at the host and prints each step that vmctl up would take, one per line: " +
				"+ makes something, ~ changes it, - stops or removes it. Exits with 2 when there is something to do, with 0 when there is not.",
		},
		options: append([]option{allOption("plan for all machines of the project")}, planOptions()...),
		examples: []example{
			{"vmctl plan example", ""},
			{"vmctl plan --replace example", "what up --replace would do"},
			{"vmctl plan -o json --all", "for scripts"},
		},
		json: `{
  "machines": [
    {
      "machine": "example",
      "host": "qemu:///session",
      "operations": [
        {
          "action": "set memory",
          "resource": "example",
          "cause": "memory 1GiB → 2GiB",
          "destructive": false,
          "when": "now"
        }
      ],
      "pending": ["cpus 2 → 4"],
      "notes": []
    }
  ]
}`,
	}
}

func runPlan(ctx context.Context, c *call, in *urfave.Context) error {
	o := parseUp(in)
	o.passing = true
	names, err := c.declaredNames(in)
	if err != nil {
		return err
	}
	plans := []*engine.Plan{}
	pending := false
	err = each(ctx, names, func(name string) error {
		plan, err := c.plan(ctx, name, o)
		if err != nil {
			return err
		}
		plans = append(plans, plan)
		pending = pending || !plan.Empty()
		if c.json() {
			return nil
		}
		return c.showPlan(plan, len(names) > 1)
	})
	if err := results(c, plans, err); err != nil {
		return err
	}
	if pending {
		return errPending
	}
	return nil
}

// plan finds out what up would do to one machine.
func (c *call) plan(ctx context.Context, name string, o upOptions) (*engine.Plan, error) {
	t, e, found, err := c.wanted(ctx, name, o)
	if err != nil {
		return nil, err
	}
	plan, err := e.Plan(ctx, c.handed(t, found), o.Options)
	found.done()
	if errors.Is(err, engine.ErrImageNeeded) && !o.build {
		o.build = true
		return c.plan(ctx, name, o)
	}
	return plan, err
}

// showPlan prints a plan, under the machine's name when it is one of several.
func (c *call) showPlan(p *engine.Plan, titled bool) error {
	c.progress.Pause()
	defer c.progress.Resume()
	var b strings.Builder
	indent := ""
	if titled && (!p.Empty() || len(p.Pending) > 0) {
		fmt.Fprintf(&b, "%s:\n", p.Machine)
		indent = "  "
	}
	for _, o := range p.Ops {
		sign, color := signOf(o)
		b.WriteString(indent + paint(c.streams.OutColor, color, sign+" "+ansi.Line(o.String())) + "\n")
	}
	for _, waits := range p.Pending {
		fmt.Fprintf(&b, "%swaits for the next boot: %s\n", indent, ansi.Line(waits))
	}
	if err := c.print(b.String()); err != nil {
		return err
	}
	for _, note := range p.Notes {
		c.say("note: " + ansi.Line(note))
	}
	switch {
	case p.Empty() && len(p.Pending) == 0:
		c.say(p.Machine + " is up to date")
	case p.Empty():
		c.say(fmt.Sprintf("%s is up to date; vmctl up --restart %s restarts it now", p.Machine, p.Machine))
	}
	return nil
}

// signOf is the sign that stands before an operation, and its colour.
func signOf(o engine.Op) (sign, color string) {
	switch o.Action {
	case engine.ActionDeleteVolume, engine.ActionRelease, engine.ActionUndefine, engine.ActionStopDomain:
		return "-", "31"
	case engine.ActionCreateVolume, engine.ActionDefinePool, engine.ActionBuildPool, engine.ActionStartPool,
		engine.ActionStartNetwork, engine.ActionReserve, engine.ActionUploadVolume, engine.ActionStartDomain,
		engine.ActionCopyVolume, engine.ActionCopySecret:
		return "+", "32"
	case engine.ActionDefineDomain:
		if o.Cause == "not defined" {
			return "+", "32"
		}
	}
	return "~", "33"
}

// paint colours a line.
func paint(on bool, color, text string) string {
	if !on {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}
