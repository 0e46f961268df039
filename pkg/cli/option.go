package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"vmctl/pkg/fault"
	"vmctl/pkg/ui"
)

// valueKind is what the value of an option must look like.
type valueKind uint8

const (
	// isSwitch is an option without a value.
	isSwitch valueKind = iota
	isText
	isDuration
	isCount
)

// option is one flag: what urfave/cli is told of it, and what it cannot be told.
type option struct {
	name, short string
	kind        valueKind
	// value names the value in help: "URI".
	value string
	// choices are the only values allowed, when there are any.
	choices []string
	// preset is the value without the flag, shown in help.
	preset string
	// env is the variable that gives the value when the flag does not. It is read
	// here and not by urfave/cli, which would read the process's own environment.
	env  string
	help string
}

// flag is the option in urfave/cli's words.
func (o option) flag() urfave.Flag {
	var aliases []string
	if o.short != "" {
		aliases = []string{o.short}
	}
	switch o.kind {
	case isSwitch:
		return &urfave.BoolFlag{Name: o.name, Aliases: aliases, Usage: o.help}
	case isDuration:
		preset, _ := time.ParseDuration(o.preset)
		return &urfave.DurationFlag{Name: o.name, Aliases: aliases, Usage: o.help, Value: preset}
	case isCount:
		preset, _ := strconv.Atoi(o.preset)
		return &urfave.IntFlag{Name: o.name, Aliases: aliases, Usage: o.help, Value: preset}
	default:
		return &urfave.StringFlag{Name: o.name, Aliases: aliases, Usage: o.help, Value: o.preset}
	}
}

// check refuses a value before urfave/cli sees it; from is "--timeout" or "VMCTL_ACCEL".
func (o option) check(from, value string) error {
	switch {
	case o.kind == isSwitch:
		if _, err := strconv.ParseBool(value); err != nil {
			return usagef("%s takes no value", from).WithHint("write %s alone", from)
		}
	case o.kind == isDuration:
		if d, err := time.ParseDuration(value); err != nil || d < 0 {
			return usagef("%s: %q is not a duration", from, value).WithHint("write it as 90s, 5m or 1h30m")
		}
	case o.kind == isCount:
		if n, err := strconv.Atoi(value); err != nil || n < 0 {
			return usagef("%s: %q is not a number", from, value).WithHint("write it as 20")
		}
	case len(o.choices) > 0 && !slices.Contains(o.choices, value):
		return usagef("%s: %q is not one of %s", from, value, strings.Join(o.choices, ", ")).
			WithHint("%s", nearest(value, o.choices, "did you mean %s?", "write one of "+strings.Join(o.choices, ", ")))
	case o.kind == isText && value == "":
		return usagef("%s needs a value", from).WithHint("write %s", o.synopsis())
	}
	return nil
}

// synopsis is the option as help shows it: "-c, --connect URI".
func (o option) synopsis() string {
	s := "--" + o.name
	if o.short != "" {
		s = "-" + o.short + ", " + s
	}
	if o.kind != isSwitch {
		s += " " + o.value
	}
	return s
}

func usagef(format string, args ...any) *fault.Error { return fault.New(fault.Usage, format, args...) }

// globals are the options that stand before or after any verb.
func globals() []option {
	return []option{
		{
			name: "connect", short: "c", kind: isText, value: "URI",
			help: "the libvirt host, as virsh -c takes it; without it the machine's host, then LIBVIRT_DEFAULT_URI, " +
				"then qemu:///system for root and qemu:///session for others",
		},
		{
			name: "host", short: "H", kind: isText, value: "NAME",
			help: "the libvirt host by the name that vmctl host add gave it",
		},
		{
			name: "project", short: "C", kind: isText, value: "DIR", env: envProject,
			help: "the project directory; without it the nearest one above the current directory that holds domain/",
		},
		{
			name: "output", short: "o", kind: isText, value: "FORMAT", choices: []string{outputTable, outputJSON}, preset: outputTable,
			help: "how the result is written: table or json",
		},
		{
			name: "progress", kind: isText, value: "MODE", preset: "auto",
			choices: []string{"auto", "tty", "plain", "json", "quiet"},
			help:    "how progress is shown on standard error: " + ui.Modes,
		},
		{name: "quiet", short: "q", help: "show no progress, only results and errors"},
		{name: "verbose", short: "v", help: "log what is done, for finding faults"},
		{name: "help", short: "h", help: "show help"},
		{name: "version", help: "show the version"},
	}
}

// The variables that stand for flags.
const (
	envProject = "VMCTL_PROJECT"
	envAccel   = "VMCTL_ACCEL"
	envURI     = "LIBVIRT_DEFAULT_URI"
)

const (
	outputTable = "table"
	outputJSON  = "json"
)

// nearest fills a hint: found with the word most like the wrong one, or otherwise.
func nearest(word string, among []string, found, otherwise string) string {
	if n := suggest(word, among); n != "" {
		return fmt.Sprintf(found, n)
	}
	return otherwise
}
