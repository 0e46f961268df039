package cli

import (
	"context"

	urfave "github.com/urfave/cli/v2"
)

// takes is what a verb's arguments are.
type takes uint8

const (
	nothing takes = iota
	// oneMachine, someMachines and anyMachines are names of machines.
	oneMachine
	someMachines
	anyMachines
	// oneWord is one of command.words.
	oneWord
	// maybeWord is the name of a command, or nothing.
	maybeWord
	// anyWords is anything.
	anyWords
)

// group is a heading of the help.
type group string

// The groups, in the order in which help shows them.
const (
	lifecycle group = "Lifecycle"
	look      group = "Look"
	build     group = "Build"
	other     group = "Other"
)

func groups() []group { return []group{lifecycle, look, build, other} }

// example is a command line and what it is for.
type example struct{ line, what string }

// command is one verb: what parses it, what help and the reference say of it, and
// what it does.
type command struct {
	name    string
	group   group
	takes   takes
	words   []string
	options []option
	// summary is one line for the list of verbs: imperative, no full stop.
	summary string
	// about is the help's text, one paragraph each.
	about    []string
	examples []example
	// json is an example of what -o json prints; empty when there is no such output.
	json string
	// hidden commands are for programs; no list shows them.
	hidden bool
	run    func(ctx context.Context, c *call, in *urfave.Context) error
}

// arguments is how usage lines show what the verb takes.
func (c *command) arguments() string {
	switch c.takes {
	case oneMachine:
		return "NAME"
	case someMachines:
		return "NAME..."
	case anyMachines:
		return "[NAME...]"
	case oneWord:
		return join(c.words, "|")
	case maybeWord:
		return "[COMMAND]"
	default:
		return ""
	}
}

// usage is the verb's usage line.
func (c *command) usage() string {
	line := "vmctl " + c.name
	if args := c.arguments(); args != "" {
		line += " " + args
	}
	return line + " [flags]"
}

// most is how many arguments the verb takes at most; -1 for any number.
func (c *command) most() int {
	switch c.takes {
	case nothing:
		return 0
	case someMachines, anyMachines, anyWords:
		return -1
	default:
		return 1
	}
}

func (c *command) option(name string) (option, bool) { return lookUp(c.options, name) }

func lookUp(options []option, name string) (option, bool) {
	for _, o := range options {
		if o.name == name || o.short == name {
			return o, true
		}
	}
	return option{}, false
}

// commands are all verbs, in the order in which help shows them.
func commands() []*command {
	return []*command{
		upCommand(), downCommand(), startCommand(), stopCommand(), restartCommand(),
		planCommand(), listCommand(), infoCommand(), ipCommand(), consoleCommand(), logsCommand(),
		buildCommand(), validateCommand(), schemaCommand(),
		doctorCommand(), versionCommand(), completionCommand(), helpCommand(), completeCommand(),
	}
}
