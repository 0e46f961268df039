package cli

import (
	"context"
	"strings"

	urfave "github.com/urfave/cli/v2"
)

func completionCommand() *command {
	return &command{
		name: "completion", group: other, takes: oneWord, words: []string{"bash", "zsh", "fish"}, run: runCompletion,
		summary: "Print the completion script of a shell",
		about:   []string{"With it the Tab key completes commands, flags, their values, and the names of the project's machines."},
		examples: []example{
			{`source <(vmctl completion bash)`, "in ~/.bashrc"},
			{`source <(vmctl completion zsh)`, "in ~/.zshrc, after compinit"},
			{`vmctl completion fish | source`, "in ~/.config/fish/config.fish"},
		},
	}
}

// The scripts hand the words on the line, up to and with the one at the cursor, to
// "vmctl complete", which knows the grammar. Without an answer the shell's own
// completion of file names goes on.
const (
	bashScript = `_vmctl() {
    local IFS=$'\n'
    COMPREPLY=($(vmctl complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _vmctl vmctl
`
	zshScript = `#compdef vmctl
_vmctl() {
    local -a found
    found=("${(@f)$(vmctl complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -n "$found" ]]; then compadd -- "${found[@]}"; else _files; fi
}
if [[ "$funcstack[1]" == _vmctl ]]; then _vmctl; else compdef _vmctl vmctl; fi
`
	fishScript = `function __vmctl_complete
    set -l words (commandline -opc) (commandline -ct)
    vmctl complete -- $words[2..-1] 2>/dev/null
end
complete -c vmctl -f -a '(__vmctl_complete)'
complete -c vmctl -s C -l project -r -F
`
)

func runCompletion(_ context.Context, c *call, _ *urfave.Context) error {
	switch c.line.args[0] {
	case "bash":
		return c.print(bashScript)
	case "zsh":
		return c.print(zshScript)
	default:
		return c.print(fishScript)
	}
}

// completeCommand answers the shells' question what could stand at the cursor.
func completeCommand() *command {
	return &command{
		name: "complete", group: other, takes: anyWords, hidden: true, run: runComplete,
		summary: "Print what could stand at the end of a command line",
	}
}

func runComplete(_ context.Context, c *call, _ *urfave.Context) error {
	words := c.line.args
	if len(words) == 0 {
		words = []string{""}
	}
	found := complete(commands(), words, c)
	if len(found) == 0 {
		return nil
	}
	return c.print(join(found, "\n") + "\n")
}

// machineNames are the project's machines. No host is asked: Tab has to be quick.
func (c *call) machineNames() []string {
	p, err := c.projectOrNone()
	if err != nil || p == nil {
		return nil
	}
	names, _ := p.Names()
	return names
}

// complete gives what could stand in the place of the last word.
func complete(all []*command, words []string, c *call) []string {
	before, word := words[:len(words)-1], words[len(words)-1]
	unset := func(string) string { return "" }
	if o, ok := waitingFlag(all, before); ok {
		return begin(o.choices, word)
	}
	line, _ := read(all, before, unset)
	options := globals()
	if line.verb != nil {
		options = append(line.verb.options, options...)
	}
	if name, value, ok := strings.Cut(word, "="); ok && strings.HasPrefix(name, "--") {
		o, _ := lookUp(options, name[2:])
		var whole []string
		for _, choice := range begin(o.choices, value) {
			whole = append(whole, name+"="+choice)
		}
		return whole
	}
	if strings.HasPrefix(word, "-") {
		var flags []string
		for _, o := range options {
			flags = append(flags, "--"+o.name)
		}
		return begin(flags, word)
	}
	switch {
	case line.verb == nil:
		return begin(verbNames(all), word)
	case len(line.verb.verbs) > 0:
		return begin(verbNames(line.verb.verbs), word)
	}
	c.line.global = append(c.line.global, line.global...)
	return begin(completeArgument(all, line, c), word)
}

// completeArgument gives what could stand behind the arguments of a line.
func completeArgument(all []*command, line *line, c *call) []string {
	var words []string
	switch most := line.verb.most(); {
	case most >= 0 && len(line.args) >= most:
		return nil
	case line.verb.takes == oneWord:
		return line.verb.words
	case line.verb.takes == maybeCommand:
		if len(line.args) == 0 {
			return verbNames(all)
		}
		if noun := named(all, line.args[0]); noun != nil {
			words = verbNames(noun.verbs)
		}
		return words
	case line.verb.takes == ownWords:
		if line.verb.args.complete != nil {
			words = line.verb.args.complete(c, line.args)
		}
	default:
		words = c.machineNames()
	}
	var others []string
	for _, w := range words {
		if !contains(line.args, w) {
			others = append(others, w)
		}
	}
	return others
}

// waitingFlag is the flag at the end of the words that waits for its value.
func waitingFlag(all []*command, words []string) (option, bool) {
	if len(words) == 0 || !strings.HasPrefix(words[len(words)-1], "-") || contains(words, "--") {
		return option{}, false
	}
	last := words[len(words)-1]
	line, _ := read(all, words[:len(words)-1], func(string) string { return "" })
	options := globals()
	if line.verb != nil {
		options = append(line.verb.options, options...)
	}
	name := strings.TrimLeft(last, "-")
	o, ok := lookUp(options, name)
	return o, ok && o.kind != isSwitch && (len(name) == 1) == (last[1] != '-')
}

func begin(words []string, with string) []string {
	var found []string
	for _, w := range words {
		if strings.HasPrefix(w, with) {
			found = append(found, w)
		}
	}
	return found
}
