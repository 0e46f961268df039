package cli

import (
	"fmt"
	"strings"
	"time"

	"vmctl/pkg/ansi"
	"vmctl/pkg/engine"
	"vmctl/pkg/ui"
)

// sayMoved tells a person how a move ended.
func (c *call) sayMoved(t *target, m *engine.Move, moved *engine.Moved, ready string, took time.Duration) {
	how := ""
	switch {
	case moved.There:
		c.say(fmt.Sprintf("%s is on %s already", t.name, m.ToName))
		return
	case moved.Plan.Way == engine.WayLive:
		how = ", and has not stopped"
	case ready != "":
		how = ", and is ready: " + ready
	case moved.Started:
		how = ", and is started"
	case !moved.Running:
		how = ", and is off"
	}
	c.say(fmt.Sprintf("%s is on %s now, after %s%s", t.name, m.ToName, ui.Duration(took), how))
	c.say("  console: " + c.on(m.ToURI) + " console " + t.name)
	if t.machine != nil {
		if declared, err := c.uri(t.machine.Host); err != nil || declared != m.ToURI {
			c.say(fmt.Sprintf("  to stay there, write in its definition: host: %s", m.ToName))
		}
	}
}

// showMove prints what a move would do.
func (c *call) showMove(p *engine.MovePlan) error {
	c.progress.Close()
	if c.json() {
		return ui.JSON(c.streams, newMigrateResult(p))
	}
	var b strings.Builder
	for _, o := range p.Ops {
		sign, color := signOf(o.Op)
		b.WriteString(paint(c.streams.OutColor, color, sign+" "+ansi.Line(o.String())) + "\n")
	}
	if err := c.print(b.String()); err != nil {
		return err
	}
	for _, note := range p.Notes {
		c.say("note: " + ansi.Line(note))
	}
	switch {
	case len(p.Ops) == 0:
		c.say(p.Machine + " is there already")
	case p.Way == engine.WayFinish:
		c.say("an earlier move was cut short: this is what is left to do")
	default:
		c.say(fmt.Sprintf("the way is %s: %s", p.Way, p.Why))
	}
	return nil
}
