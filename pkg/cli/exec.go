package cli

import (
	"context"
	"errors"
	"fmt"
	"unicode/utf8"

	urfave "github.com/urfave/cli/v2"

	"vmctl/pkg/fault"
	"vmctl/pkg/guest"
	"vmctl/pkg/ui"
)

func execCommand() *command {
	return &command{
		name: "exec", group: inside, takes: ownWords, args: machineAndCommand(), run: runExec,
		summary: "Run a command in a machine, without any network",
		about: []string{
			"Runs a command in the guest through its agent, as root, and ends with the command's exit status. What is piped in is the command's " +
				"standard input; a terminal is not passed on. Arguments arrive as they are: no shell looks at them. " +
				"Ctrl-C stops the command in the guest. On a terminal its output is text and colours alone; a pipe or a file gets every byte.",
			"Where no agent answers, the command goes over ssh, as the user that the definition names. What vmctl itself says has the exit " +
				"codes of every other command, which the command's own may equal: -o json tells them apart.",
		},
		options: []option{
			viaOption(),
			{name: "no-input", short: "n", help: "do not pass standard input on, as in a loop that reads it itself"},
		},
		examples: []example{
			{"vmctl exec example systemctl --failed", ""},
			{"vmctl exec example sh -c 'journalctl -b | tail'", "a shell, where one is wanted"},
			{"vmctl exec db pg_dump app >app.sql", ""},
		},
		json: `{
  "name": "example",
  "via": "agent",
  "status": 0,
  "stdout": "Linux\n",
  "stderr": ""
}`,
	}
}

// execResult is what exec tells; output that is no text is base64.
type execResult struct {
	Name   string `json:"name"`
	Via    string `json:"via"`
	Status int    `json:"status"`
	Stdout any    `json:"stdout"`
	Stderr any    `json:"stderr"`
}

// statusError ends vmctl with the exit status of what ran in the guest, which has said
// itself what there was to say.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// statusOf is the status as an error.
func statusOf(status int) error {
	if status == 0 {
		return nil
	}
	return statusError(status)
}

func runExec(ctx context.Context, c *call, in *urfave.Context) error {
	argv := c.line.args[1:]
	if len(argv) == 0 {
		return c.line.explain(usagef("no command is named").WithHint("vmctl exec %s uname -a; for a shell: vmctl ssh %[1]s", c.line.args[0]))
	}
	m, err := c.reachable(ctx, c.line.args[0])
	if err != nil {
		return err
	}
	runner, via, err := m.runner(ctx, in.String("via"))
	if err != nil {
		return err
	}
	command := guest.Command{Argv: argv}
	if !in.Bool("no-input") && !c.streams.InTTY {
		command.Stdin = c.streams.In
	}
	c.progress.Close()
	if c.json() {
		return c.execJSON(ctx, m, runner, via, command)
	}
	out := newShown(c.streams.Out, c.streams.OutTTY, c.streams.Dumb)
	diag := newShown(c.streams.Err, c.streams.ErrTTY, c.streams.Dumb)
	command.Stdout, command.Stderr = out, diag
	status, err := runner.Run(ctx, command)
	if err := errors.Join(err, out.end(), diag.end()); err != nil {
		return err
	}
	return statusOf(status)
}

// execJSON keeps what the command prints.
func (c *call) execJSON(ctx context.Context, m *reachable, runner guest.Runner, via string, command guest.Command) error {
	var out, diag kept
	command.Stdout, command.Stderr = &out, &diag
	status, err := runner.Run(ctx, command)
	if err != nil {
		return err
	}
	err = ui.JSON(c.streams, execResult{m.name, via, status, textOrBytes(out.content), textOrBytes(diag.content)})
	return errors.Join(err, statusOf(status))
}

// mostKept bounds what -o json keeps of a command's output.
const mostKept = 64 << 20

// kept keeps output up to mostKept.
type kept struct{ content []byte }

func (b *kept) Write(p []byte) (int, error) {
	if len(b.content)+len(p) > mostKept {
		return 0, fault.New(fault.Other, "the command prints more than fits into a JSON document").WithHint("leave out -o json, and send the output to a file")
	}
	b.content = append(b.content, p...)
	return len(p), nil
}

// textOrBytes is text as it is; JSON makes base64 of bytes.
func textOrBytes(content []byte) any {
	if utf8.Valid(content) {
		return string(content)
	}
	return content
}
