package cli

import (
	"context"
	"fmt"
	"strings"

	urfave "github.com/urfave/cli/v2"
)

// helpWidth is the width of help texts: every terminal and every mail shows it.
const helpWidth = 80

func helpCommand() *command {
	return &command{
		name: "help", group: other, takes: maybeWord, run: runHelp,
		summary:  "Explain vmctl or one of its commands",
		examples: []example{{"vmctl help up", "the same as vmctl up --help"}},
	}
}

func runHelp(_ context.Context, c *call, _ *urfave.Context) error {
	if len(c.line.args) == 0 {
		return c.print(help(commands()))
	}
	for _, verb := range commands() {
		if verb.name == c.line.args[0] && !verb.hidden {
			return c.print(helpOf(verb))
		}
	}
	return usagef("there is no command %q", c.line.args[0]).
		WithHint("%s", nearest(c.line.args[0], verbNames(commands()), "did you mean vmctl help %s?", "vmctl help lists the commands"))
}

// verbNames are the names of the verbs that people may see.
func verbNames(verbs []*command) []string {
	var names []string
	for _, v := range verbs {
		if !v.hidden {
			names = append(names, v.name)
		}
	}
	return names
}

// help is the page that shows all verbs.
func help(verbs []*command) string {
	var b strings.Builder
	b.WriteString(paragraph("", "vmctl takes a NixOS flake, or any disk image, to a running virtual machine on a libvirt host."))
	b.WriteString("\nusage: vmctl COMMAND [NAME...] [flags]\n")
	for _, g := range groups() {
		fmt.Fprintf(&b, "\n%s\n", g)
		for _, v := range verbs {
			if v.group == g && !v.hidden {
				fmt.Fprintf(&b, "  %-12s%s\n", v.name, v.summary)
			}
		}
	}
	b.WriteString("\nFlags of every command\n")
	b.WriteString(optionLines(globals()))
	b.WriteString("\n" + paragraph("", "NAME is a machine: domain/NAME.yaml of the project. vmctl help COMMAND explains a command."))
	return b.String()
}

// helpOf is the page about one verb.
func helpOf(v *command) string {
	var b strings.Builder
	b.WriteString(v.summary + "\n\nusage: " + v.usage() + "\n")
	for _, text := range v.about {
		b.WriteString("\n" + paragraph("", text))
	}
	if len(v.options) > 0 {
		b.WriteString("\nFlags\n" + optionLines(v.options))
	}
	if len(v.examples) > 0 {
		b.WriteString("\nExamples\n")
		for _, e := range v.examples {
			b.WriteString("  " + e.line + "\n")
			if e.what != "" {
				b.WriteString(paragraph("      ", e.what))
			}
		}
	}
	b.WriteString("\n" + paragraph("", "vmctl help lists the flags of every command."))
	return b.String()
}

// optionLines are the flags, one under the other, each with what it does.
func optionLines(options []option) string {
	const column = 24
	var b strings.Builder
	for _, o := range options {
		synopsis := "  " + o.synopsis()
		if o.short == "" {
			synopsis = "      " + o.synopsis()
		}
		lines := strings.SplitAfter(paragraph(strings.Repeat(" ", column), o.describe()), "\n")
		if len(synopsis) < column {
			b.WriteString(synopsis + lines[0][len(synopsis):] + join(lines[1:], ""))
			continue
		}
		b.WriteString(synopsis + "\n" + join(lines, ""))
	}
	return b.String()
}

// describe is what the option does, with its default and its variable.
func (o option) describe() string {
	text := o.help
	var also []string
	if o.preset != "" {
		also = append(also, "default: "+o.preset)
	}
	if o.env != "" {
		also = append(also, "or "+o.env)
	}
	if len(also) > 0 {
		text += " (" + join(also, "; ") + ")"
	}
	return text
}

// paragraph breaks text into lines that are indented and fit the page.
func paragraph(indent, text string) string {
	var b strings.Builder
	line := indent
	for word := range strings.FieldsSeq(text) {
		if line != indent && len([]rune(line))+1+len([]rune(word)) > helpWidth {
			b.WriteString(line + "\n")
			line = indent
		}
		if line != indent {
			line += " "
		}
		line += word
	}
	return b.String() + line + "\n"
}
