package cli

import (
	"context"
	"io"

	urfave "github.com/urfave/cli/v2"

	"vmctl/pkg/fault"
	"vmctl/pkg/ui"
)

// Main carries out one command line (without the program's name) and gives the exit
// code. When ctx ends, the command stops cleanly and takes back what it began.
func Main(ctx context.Context, args []string, deps *Deps) int {
	line, err := read(commands(), args, deps.getenv)
	if err != nil {
		err = line.explain(err)
	}
	c := newCall(deps, line)
	if err == nil {
		err = c.carryOut(ctx)
	}
	c.progress.Close()
	c.ahead.end()
	err = interruption(ctx, err)
	if err == nil || silent(err) {
		if broken := deps.Streams.Finish(); broken != nil {
			err = broken
		}
	}
	code := codeOf(err)
	switch {
	case err == nil || silent(err):
	case c.json() || c.lines:
		ui.ErrorJSON(deps.Streams, err, code)
	default:
		ui.Error(deps.Streams, err)
	}
	return code
}

// Abandon leaves a command where it stands, for who will not wait until it has stopped cleanly, and
// gives the exit code.
func Abandon(deps *Deps) int {
	ui.Abandon(deps.Streams)
	err := fault.New(fault.Interrupted, "stopped at once: what was begun was not taken back").
		WithHint("the same command goes on from there, and vmctl down removes it")
	ui.Error(deps.Streams, err)
	return codeOf(err)
}

// carryOut shows help or runs the verb.
func (c *call) carryOut(ctx context.Context) (err error) {
	switch {
	case c.line.version:
		return showVersion(c)
	case c.line.help && c.line.verb != nil:
		return c.print(helpOf(c.line.verb, c.pageWidth()))
	case c.line.help || c.line.verb == nil:
		return c.print(help(commands(), c.pageWidth()))
	}
	if err := checkArguments(c); err != nil {
		return err
	}
	defer c.close()
	return app(c).RunContext(ctx, c.line.argv())
}

// app hands the verb's line to urfave/cli, which never gets to print or exit: flags it
// could stumble over were refused before.
func app(c *call) *urfave.App {
	verb := c.line.verb
	run := &urfave.Command{
		Name: verb.name, HideHelp: true, Flags: flags(verb.options),
		Action: func(in *urfave.Context) error { return verb.run(in.Context, c, in) },
	}
	if verb.noun != nil {
		run = &urfave.Command{Name: verb.noun.name, HideHelp: true, Subcommands: []*urfave.Command{run}}
	}
	return &urfave.App{
		Name: "vmctl", Writer: io.Discard, ErrWriter: io.Discard,
		HideHelp: true, HideVersion: true, DisableSliceFlagSeparator: true,
		Flags:          flags(globals()),
		ExitErrHandler: func(*urfave.Context, error) {},
		Commands:       []*urfave.Command{run},
	}
}

func flags(options []option) []urfave.Flag {
	var all []urfave.Flag
	for _, o := range options {
		all = append(all, o.flag())
	}
	return all
}
