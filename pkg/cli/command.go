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
	// maybeCommand is a command, in as many words as it has, or nothing.
	maybeCommand
	// ownWords are what command.args says.
	ownWords
	// anyWords is anything.
	anyWords
)

// group is a heading of the help.
type group string

// The groups, in the order in which help shows them.
const (
	lifecycle group = "Lifecycle"
	look      group = "Look"
	inside    group = "Inside"
	build     group = "Build"
	other     group = "Other"
)

func groups() []group { return []group{lifecycle, look, inside, build, other} }

// example is a command line and what it is for.
type example struct{ line, what string }

// arguments are words of a kind that one verb alone takes.
type arguments struct {
	// usage shows them in the usage line: "IMAGE...".
	usage string
	// one is what each of them is, for "image inspect needs …": "an image".
	one string
	// least and most say how many there may be; most is -1 for any number.
	least, most int
	// hint is the command that lists what could stand there.
	hint string
	// command says that from the second word on they are another program's command line,
	// flags and all.
	command bool
	// check refuses a word that can be none; nil lets every word pass.
	check func(word string) error
	// complete gives the words that could stand behind those given. No host is asked
	// for them: Tab has to be quick. Nil is none.
	complete func(c *call, given []string) []string
}

// command is one verb, or a noun with verbs of its own: what parses it, what help and
// the reference say of it, and what it does.
type command struct {
	name  string
	group group
	// verbs make the command a noun, as in "vmctl image list". A noun does nothing by
	// itself and has no flags, and its verbs need no group. They come to know it in adopt.
	verbs []*command
	noun  *command
	takes takes
	words []string
	args  *arguments
	// definitions says that machines are meant by their definition alone: no flake can
	// stand for one.
	definitions bool
	options     []option
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

// path is the command as it is written: "up", "image list".
func (c *command) path() string {
	if c.noun != nil {
		return c.noun.name + " " + c.name
	}
	return c.name
}

// arguments is how usage lines show what the verb takes.
func (c *command) arguments() string {
	if len(c.verbs) > 0 {
		return "COMMAND"
	}
	switch c.takes {
	case oneMachine:
		return "NAME"
	case someMachines:
		return "NAME..."
	case anyMachines:
		return "[NAME...]"
	case oneWord:
		return join(c.words, "|")
	case maybeCommand:
		return "[COMMAND]"
	case ownWords:
		return c.args.usage
	default:
		return ""
	}
}

// usage is the verb's usage line.
func (c *command) usage() string {
	line := "vmctl " + c.path()
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
	case maybeCommand:
		return 2
	case ownWords:
		return c.args.most
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

// commands are all verbs and nouns, in the order in which help shows them.
func commands() []*command {
	all := []*command{
		upCommand(), downCommand(), startCommand(), stopCommand(), restartCommand(), migrateCommand(), applyCommand(), rollbackCommand(),
		planCommand(), outdatedCommand(), listCommand(), infoCommand(), ipCommand(), consoleCommand(), logsCommand(), viewCommand(), screenshotCommand(), secretCommand(), keyCommand(),
		sshCommand(), execCommand(), cpCommand(), forwardCommand(), sshConfigCommand(), sshProxyCommand(), hostAgentCommand(),
		initCommand(), buildCommand(), imageCommand(), validateCommand(), schemaCommand(),
		volumeCommand(),
		hostCommand(), doctorCommand(), versionCommand(), completionCommand(), helpCommand(), completeCommand(),
	}
	return adopt(all)
}

// adopt tells the verbs of nouns whose they are.
func adopt(all []*command) []*command {
	for _, c := range all {
		for _, v := range c.verbs {
			v.noun, v.group = c, c.group
		}
	}
	return all
}

// withVerbs are the commands and behind each noun its verbs.
func withVerbs(commands []*command) []*command {
	var all []*command
	for _, c := range commands {
		all = append(append(all, c), c.verbs...)
	}
	return all
}

// named finds a command among others.
func named(among []*command, name string) *command {
	for _, c := range among {
		if c.name == name {
			return c
		}
	}
	return nil
}
