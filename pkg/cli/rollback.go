package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	urfave "github.com/urfave/cli/v2"

	"vmctl/pkg/fault"
	"vmctl/pkg/guest"
	"vmctl/pkg/ui"
)

func rollbackCommand() *command {
	return &command{
		name: "rollback", group: lifecycle, takes: oneMachine, run: runRollback,
		summary: "Bring a NixOS machine back to an earlier system",
		about: []string{
			"Activates the generation before the one that the guest has, in the same guarded way as vmctl apply: when the guest is not ready with it, it stays as it is. " +
				"What apply --test tries, and what --boot left for the next boot, is taken back first. Nothing is built or copied.",
			"It works by ssh, and where that gets in no more, by the guest's agent. --list shows the generations that the guest has kept.",
		},
		options: append([]option{
			{name: "to", kind: isCount, value: "N", help: "the generation to bring it to, newer ones too"},
			{name: "list", help: "only list the generations"},
		}, systemFlags()...),
		examples: []example{
			{"vmctl rollback web", ""},
			{"vmctl rollback --list web", "which generations there are"},
			{"vmctl rollback --to 3 web", ""},
		},
		json: systemJSON(`"generations": [
        {
          "number": 2,
          "made": "2026-01-02T15:04:05Z",
          "system": "/nix/store/3kq0w7z2m1s9v5c8a4b6d7f9g0h2i3j4-nixos-system-example-25.11",
          "runs": true,
          "booted": false,
          "boots": true
        }
      ]`),
	}
}

// rollbackResult is what rollback tells.
type rollbackResult struct {
	*systemResult
	// Generations are those that the guest has kept, the oldest first.
	Generations []generationResult `json:"generations"`
}

type generationResult struct {
	Number int       `json:"number"`
	Made   time.Time `json:"made"`
	System string    `json:"system"`
	// Runs, Booted and Boots say that it runs, was booted, and boots next.
	Runs   bool `json:"runs"`
	Booted bool `json:"booted"`
	Boots  bool `json:"boots"`
}

func runRollback(ctx context.Context, c *call, in *urfave.Context) error {
	began := time.Now()
	o, err := parseSystem(in)
	if err != nil {
		return err
	}
	number := in.Int("to")
	if in.Bool("list") && (number > 0 || o.reboot || o.mode != guest.ModeSwitch) {
		return usagef("--list changes nothing, and cannot go with other flags").WithHint("leave one of them out")
	}
	t, err := c.target(c.line.args[0])
	if err != nil {
		return err
	}
	g, err := c.systemGuest(ctx, t)
	if g == nil {
		return err
	}
	// Without ssh the agent alone is the way, and has to work with the other system.
	if in.Bool("list") {
		return g.list(o)
	}
	to, err := g.earlier(number)
	if err != nil {
		return err
	}
	r := g.result(o, to.System)
	if !g.done(o, to.System) {
		g.compare(ctx, to.System, r)
		if err := g.change(ctx, to.System, to.Number, o.mode, o.timeout, r); err != nil {
			return err
		}
		r.Changed = true
	}
	err = g.settle(ctx, o, r, "")
	if err == nil {
		c.saySystem(r, time.Since(began))
	}
	return results(c, []rollbackResult{{r, g.generations()}}, err)
}

// earlier is the generation with a number, or without one the one to go back to.
func (g *systemGuest) earlier(number int) (guest.Generation, error) {
	s := g.state
	if number > 0 {
		if found, ok := s.Of(number); ok {
			return found, nil
		}
		return guest.Generation{}, fault.New(fault.NotFound, "%s has no generation %d", g.name, number).
			WithHint("vmctl rollback --list %s shows them", g.name)
	}
	if s.Current != s.Profile {
		// What boots next is not what runs: the older of the two is what to go back to.
		for _, known := range slices.Backward(s.Generations) {
			if known.System == s.Current && known.Number < s.Generation {
				return known, nil
			}
		}
		if now, ok := s.Of(s.Generation); ok {
			return now, nil
		}
	}
	for _, known := range slices.Backward(s.Generations) {
		if known.Number < s.Generation {
			return known, nil
		}
	}
	return guest.Generation{}, fault.New(fault.NotFound, "%s has no generation before %d to go back to", g.name, s.Generation).
		WithHint("vmctl rollback --list %s shows what it has", g.name)
}

func (g *systemGuest) generations() []generationResult {
	all := []generationResult{}
	for _, known := range g.state.Generations {
		all = append(all, generationResult{
			Number: known.Number, Made: known.Made, System: known.System,
			Runs: known.System == g.state.Current, Booted: known.System == g.state.Booted, Boots: known.Number == g.state.Generation,
		})
	}
	return all
}

func (g *systemGuest) list(o systemOptions) error {
	c, s := g.c, g.state
	all := g.generations()
	if c.json() {
		return results(c, []rollbackResult{{g.result(o, s.Current), all}}, nil)
	}
	table := ui.NewTable(ui.Column{Title: "GENERATION", Right: true, Keep: true}, ui.Column{Title: "MADE"}, ui.Column{Title: "STATE"}, ui.Column{Title: "SYSTEM"})
	for _, row := range all {
		var state []string
		for _, is := range []struct {
			word string
			so   bool
		}{{"runs", row.Runs}, {"booted", row.Booted}, {"boots next", row.Boots}} {
			if is.so {
				state = append(state, is.word)
			}
		}
		table.Row(strconv.Itoa(row.Number), row.Made.Local().Format("2006-01-02 15:04"), join(state, ", "), row.System)
	}
	c.progress.Close()
	if err := table.Write(c.streams); err != nil {
		return err
	}
	if !slices.ContainsFunc(all, func(row generationResult) bool { return row.Runs }) {
		c.say(fmt.Sprintf("%s runs %s, which is none of them", g.name, s.Current))
	}
	return nil
}
