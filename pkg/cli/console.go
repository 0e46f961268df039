package cli

import (
	"context"
	"io"

	urfave "github.com/urfave/cli/v2"

	"vmctl/pkg/console"
	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/ui"
)

func consoleCommand() *command {
	return &command{
		name: "console", group: look, takes: oneMachine, run: runConsole,
		summary: "Attach to a machine's serial console",
		about: []string{
			"Shows the end of what the console printed before, then what it prints, and sends what you type. Ctrl-] leaves; the machine runs on. " +
				"Somebody else who is attached already is not thrown out unless --force says so.",
		},
		options:  []option{{name: "force", help: "throw out whoever is attached"}},
		examples: []example{{"vmctl console example", ""}, {"echo poweroff | vmctl console example", "type from a script"}},
	}
}

func runConsole(ctx context.Context, c *call, in *urfave.Context) error {
	name := c.line.args[0]
	if err := c.noJSON("vmctl console %s connects to it as it is", name); err != nil {
		return err
	}
	_, e, d, err := c.observe(ctx, name)
	if err != nil {
		return err
	}
	if !d.State.Active() {
		return fault.New(fault.Refused, "%s is %s: nothing is on its console", name, d.State).
			WithHint("vmctl start --console %[1]s boots it; vmctl logs %[1]s shows what it printed", name)
	}
	a := &attachment{host: e.Host, name: name, force: in.Bool("force")}
	defer a.close()
	_, err = c.attach(ctx, a, engine.NewConsoleLog(e.Host.Volumes, name))
	return err
}

// attach joins the person's terminal, or a script's pipes, to a console. It reports
// whether the machine stopped.
func (c *call) attach(ctx context.Context, a *attachment, log *engine.ConsoleLog) (stopped bool, err error) {
	c.progress.Pause()
	defer c.progress.Resume()
	reason, err := console.Run(ctx, console.Options{
		Machine: a.name, Open: a.stream, Log: log,
		In: c.streams.In, Out: c.deps.Terminal, Notice: c.streams.Err,
	})
	switch reason {
	case console.OutputClosed:
		return false, ui.ErrBrokenPipe
	case console.Interrupted:
		return false, fault.New(fault.Interrupted, "interrupted; %s runs on", a.name)
	}
	return reason == console.Stopped, err
}

// attachment is a console that may be opened before the guest boots or afterwards.
type attachment struct {
	host  *engine.Host
	name  string
	force bool
	open  io.ReadWriteCloser
}

func (a *attachment) beforeBoot(ctx context.Context) error {
	_, err := a.stream(ctx)
	return err
}

func (a *attachment) stream(ctx context.Context) (_ io.ReadWriteCloser, err error) {
	if a.open == nil {
		a.open, err = a.host.Consoles.OpenConsole(ctx, a.name, a.force)
	}
	return a.open, err
}

func (a *attachment) close() {
	if a.open != nil {
		_ = a.open.Close() // nothing was asked of it that could be lost
	}
}
