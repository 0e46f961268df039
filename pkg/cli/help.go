package cli

import (
	"context"
	"fmt"
	"strings"

	urfave "github.com/urfave/cli/v2"
)

// helpWidth is the width of help texts: nearly every terminal and every mail shows it.
const helpWidth = 80

// pageWidth is the width of texts for people on standard output: a narrow terminal
// gets narrow lines.
func (c *call) pageWidth() int {
	if width := c.streams.OutWidth(); width > 0 && width < helpWidth {
		return width
	}
	return helpWidth
}

func helpCommand() *command {
	return &command{
		name: "help", group: other, takes: maybeCommand, run: runHelp,
		summary:  "Explain vmctl or one of its commands",
		examples: []example{{"vmctl help up", "the same as vmctl up --help"}, {"vmctl help image list", "a command of two words"}},
	}
}

func runHelp(_ context.Context, c *call, _ *urfave.Context) error {
	if len(c.line.args) == 0 {
		return c.print(help(commands(), c.pageWidth()))
	}
	found, err := about(commands(), c.line.args)
	if err != nil {
		return err
	}
	return c.print(helpOf(found, c.pageWidth()))
}

// about finds the command that help is asked about: "up", or "image" and "list".
func about(all []*command, words []string) (*command, error) {
	var found *command
	among := all
	for _, word := range words {
		if len(among) == 0 {
			return nil, usagef("help does not take %q", word).WithHint("leave it out")
		}
		noun := found
		if found = named(among, word); found == nil || found.hidden {
			return nil, noCommand(all, noun, word, "did you mean vmctl help %s?")
		}
		among = found.verbs
	}
	return found, nil
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
func help(verbs []*command, width int) string {
	var b strings.Builder
	b.WriteString(paragraph("", "vmctl takes a NixOS flake, or any disk image, to a running virtual machine on a libvirt host.", width))
	b.WriteString("\nusage: vmctl COMMAND [NAME...] [flags]\n")
	for _, g := range groups() {
		fmt.Fprintf(&b, "\n%s\n", g)
		for _, v := range verbs {
			if v.group == g && !v.hidden {
				b.WriteString(beside("  "+v.name, 14, v.summary, width))
			}
		}
	}
	b.WriteString("\nFlags of every command\n")
	b.WriteString(optionLines(globals(), width))
	b.WriteString("\n" + paragraph("", "NAME is a machine: domain/NAME.yaml of the project. vmctl help COMMAND explains a command.", width))
	return b.String()
}

// helpOf is the page about one verb.
func helpOf(v *command, width int) string {
	var b strings.Builder
	b.WriteString(paragraph("", v.summary, width) + "\nusage: " + v.usage() + "\n")
	for _, text := range v.about {
		b.WriteString("\n" + paragraph("", text, width))
	}
	if len(v.verbs) > 0 {
		b.WriteString("\nCommands\n")
		for _, of := range v.verbs {
			b.WriteString(beside("  "+of.name, 14, of.summary, width))
		}
	}
	if len(v.options) > 0 {
		b.WriteString("\nFlags\n" + optionLines(v.options, width))
	}
	if len(v.examples) > 0 {
		b.WriteString("\nExamples\n")
		for _, e := range v.examples {
			b.WriteString("  " + e.line + "\n")
			if e.what != "" {
				b.WriteString(paragraph("      ", e.what, width))
			}
		}
	}
	last := "vmctl help lists the flags of every command."
	if len(v.verbs) > 0 {
		last = "vmctl help " + v.name + " COMMAND explains one of them. " + last
	}
	b.WriteString("\n" + paragraph("", last, width))
	return b.String()
}

// optionLines are the flags, one under the other, each with what it does.
func optionLines(options []option, width int) string {
	column := 24
	if width < helpWidth {
		column = 8
	}
	var b strings.Builder
	for _, o := range options {
		synopsis := "  " + o.synopsis()
		if o.short == "" {
			synopsis = "      " + o.synopsis()
		}
		b.WriteString(beside(synopsis, column, o.describe(), width))
	}
	return b.String()
}

// beside puts text into a column of its own to the right of a label, or beneath a label
// that is too long.
func beside(label string, column int, text string, width int) string {
	body := paragraph(strings.Repeat(" ", column), text, width)
	if len(label) < column {
		return label + body[len(label):]
	}
	return label + "\n" + body
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
func paragraph(indent, text string, width int) string {
	var b strings.Builder
	line := indent
	for word := range strings.FieldsSeq(text) {
		if line != indent && len([]rune(line))+1+len([]rune(word)) > width {
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
