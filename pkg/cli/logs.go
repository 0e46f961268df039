package cli

import (
	"context"
	"errors"
	"io"

	urfave "github.com/urfave/cli/v2"

	"vmctl/pkg/console"
	"vmctl/pkg/engine"
)

func logsCommand() *command {
	return &command{
		name: "logs", group: look, takes: oneMachine, run: runLogs,
		summary: "Show what a machine printed on its serial console",
		about: []string{
			"Prints what the serial console has printed, since the machine was booted last, without the control sequences in it. " +
				"It needs no running guest. Of a guest that prints much, virtlogd on the host keeps the last 8 MiB (max_size and max_backups in virtlogd.conf).",
		},
		options: []option{
			{name: "follow", short: "f", help: "go on with what the guest prints, until it stops or Ctrl-C"},
			{name: "lines", short: "n", kind: isCount, value: "N", help: "only the last N lines"},
		},
		examples: []example{{"vmctl logs -n 50 example", ""}, {"vmctl logs -f example", ""}},
	}
}

func runLogs(ctx context.Context, c *call, in *urfave.Context) error {
	name := c.line.args[0]
	if err := c.noJSON("vmctl logs %s prints it as it is", name); err != nil {
		return err
	}
	person := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	_, e, d, err := c.observe(ctx, name)
	if err != nil {
		return err
	}
	shown := &lastLine{}
	o := console.FollowOptions{Log: engine.NewConsoleLog(e.Host.Volumes, name), Out: io.MultiWriter(c.streams.Out, shown), Lines: in.Int("lines")}
	if in.IsSet("lines") && o.Lines == 0 {
		o.Lines = -1
	}
	if in.Bool("follow") && d.State.Active() {
		if o.Stopped, err = stopped(ctx, e.Host, name); err != nil {
			return err
		}
	}
	c.progress.Close()
	err = console.Follow(ctx, o)
	if shown.open {
		// A prompt that waits is no whole line; the shell's own begins a new one.
		err = errors.Join(err, c.print("\n"))
	}
	if in.Bool("follow") && person.Err() != nil {
		return errLeft
	}
	return err
}

// stopped gives a channel that is closed when the machine stops or its host is lost.
func stopped(ctx context.Context, host *engine.Host, name string) (<-chan struct{}, error) {
	events, err := host.Events.Watch(ctx, name)
	if err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		// It may have stopped before the watch began.
		if d, err := host.Domains.Domain(ctx, name); err != nil || !d.State.Active() {
			return
		}
		for event := range events {
			switch event.Kind {
			case engine.EventStopped, engine.EventCrashed, engine.EventUndefined, engine.EventDisconnected:
				return
			}
		}
	}()
	return ended, nil
}

// lastLine says whether what was written to it last ended amid a line.
type lastLine struct{ open bool }

func (l *lastLine) Write(p []byte) (int, error) {
	if len(p) > 0 {
		l.open = p[len(p)-1] != '\n'
	}
	return len(p), nil
}
