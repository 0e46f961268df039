package cli

import (
	"context"
	"fmt"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"vmctl/pkg/ansi"
	"vmctl/pkg/fault"
	"vmctl/pkg/ui"
)

func doctorCommand() *command {
	return &command{
		name: "doctor", group: other, run: runDoctor,
		summary: "Check what vmctl needs on this machine and on the host",
		about: []string{
			"Looks at nix, libvirt, QEMU, KVM, storage, network, firmware and directories one by one, changes nothing, and says what to do " +
				"about each that is not right. Exits with 1 when one fails; a warning is something that vmctl can do without.",
		},
		examples: []example{{"vmctl doctor", ""}, {"vmctl doctor -c qemu:///system", "check that host"}},
		json: `{
  "checks": [
    {
      "name": "kvm",
      "status": "warn",
      "detail": "guests run under software emulation, which is slow: …",
      "hint": "…"
    }
  ]
}`,
	}
}

// doctorResult is what doctor tells.
type doctorResult struct {
	Checks []check `json:"checks"`
}

// status is how a check ended.
type status string

const (
	statusOK   status = "ok"
	statusWarn status = "warn"
	statusFail status = "fail"
)

// check is one thing that doctor looked at.
type check struct {
	Name   string `json:"name"`
	Status status `json:"status"`
	Detail string `json:"detail"`
	// Hint says what to do; empty when all is well.
	Hint string `json:"hint,omitempty"`
}

func fine(name, format string, args ...any) check {
	return check{Name: name, Status: statusOK, Detail: fmt.Sprintf(format, args...)}
}

func (c check) warn(hint string, args ...any) check {
	c.Status, c.Hint = statusWarn, fmt.Sprintf(hint, args...)
	return c
}

// failed is a check that ended in an error.
func failed(name string, err error) check {
	return check{Name: name, Status: statusFail, Detail: err.Error(), Hint: fault.HintOf(err)}
}

func runDoctor(ctx context.Context, c *call, _ *urfave.Context) error {
	var checks []check
	broken := false
	show := func(found ...check) error {
		for _, k := range found {
			checks = append(checks, k)
			broken = broken || k.Status == statusFail
			if c.json() {
				continue
			}
			if err := c.print(k.text(c.streams.OutColor, c.streams.OutWidth())); err != nil {
				return err
			}
		}
		return ctx.Err()
	}
	c.progress.Pause()
	for _, look := range []func(context.Context) []check{c.checkDirectories, c.checkNix, c.checkHost} {
		if err := show(look(ctx)...); err != nil {
			return err
		}
	}
	if c.json() {
		if err := ui.JSON(c.streams, doctorResult{checks}); err != nil {
			return err
		}
	}
	if broken {
		return errChecks
	}
	return nil
}

// text is the check for people: a line, and another one with what to do, broken to the
// width of a terminal (0: never).
func (c check) text(color bool, width int) string {
	colors := map[status]string{statusOK: "32", statusWarn: "33", statusFail: "31"}
	const label = len("fail  ")
	detail, hint := fmt.Sprintf("%-11s  %s", c.Name, oneLine(c.Detail))+"\n", "hint: "+oneLine(c.Hint)+"\n"
	if width > 0 {
		indent := strings.Repeat(" ", label)
		detail = beside(indent+c.Name, label+len("directories  "), oneLine(c.Detail), width)[label:]
		hint = paragraph(indent, hint, width)[label:]
	}
	text := paint(color, colors[c.Status], fmt.Sprintf("%-4s", c.Status)) + "  " + detail
	if c.Hint != "" {
		text += strings.Repeat(" ", label) + paint(color, "36", "hint:") + strings.TrimPrefix(hint, "hint:")
	}
	return text
}

func oneLine(text string) string {
	return join(fields(ansi.Plain(text)), " ")
}
