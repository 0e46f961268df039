package cli

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/spec"
)

var update = flag.Bool("update", false, "write what is seen into scripts and the command reference")

const referenceFile = "../../cmd/vmctl/README.md"

// TestReferenceIsTrue holds the command reference to the commands.
func TestReferenceIsTrue(t *testing.T) {
	want := reference()
	if *update {
		require.NoError(t, os.WriteFile(referenceFile, []byte(want), 0o644))
	}
	got, err := os.ReadFile(referenceFile)
	require.NoError(t, err, "write it: go test ./pkg/cli -run Reference -update")
	assert.Equal(t, want, string(got), "the reference is stale: go test ./pkg/cli -run Reference -update")
}

// reference is the command reference in Markdown.
func reference() string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("# vmctl: the command reference\n")
	p("<!-- Made from the commands themselves: go test ./pkg/cli -run Reference -update -->\n")
	p("`vmctl COMMAND [NAME...] [flags]`: flags may stand before or after the names, `--` ends them. Results go to standard")
	p("output, everything else to standard error. `vmctl help COMMAND` shows in the terminal what stands here.\n")
	for _, g := range groups() {
		p("**%s**\n", g)
		for _, v := range commands() {
			if v.group == g && !v.hidden {
				p("- [`%s`](#vmctl-%s) %s", v.name, v.name, v.summary)
				for _, of := range v.verbs {
					p("  - [`%s`](#vmctl-%s) %s", of.path(), strings.ReplaceAll(of.path(), " ", "-"), of.summary)
				}
			}
		}
		p("")
	}
	p("Further: [flags of every command](#flags-of-every-command) · [which host](#which-host) · [exit codes](#exit-codes) ·")
	p("[environment](#environment) · [errors and progress in JSON](#errors-and-progress-in-json) · [the definition](#the-definition)\n")
	for _, v := range withVerbs(commands()) {
		if !v.hidden {
			b.WriteString(referenceOf(v))
		}
	}
	p("## Flags of every command\n")
	b.WriteString(optionTable(globals()))
	p("\n## Which host\n")
	p("The first of these that is there: `--connect`; `host:` in the machine's definition; `LIBVIRT_DEFAULT_URI`;")
	p("`qemu:///system` for root and `qemu:///session` for everybody else.\n")
	p("## Exit codes\n\n| code | meaning |\n|---|---|")
	for _, row := range exitCodes() {
		p("| %d | %s |", row.code, strings.ReplaceAll(row.meaning, "|", `\|`))
	}
	p("\nOf several machines the first that fails decides; the others have their turn all the same.\n")
	p("## Environment\n\n| variable | meaning |\n|---|---|")
	for _, row := range environment() {
		p("| `%s` | %s |", row[0], row[1])
	}
	p("\n## Errors and progress in JSON\n")
	p("With `-o json` an error is one line on standard error; `kind` is other, usage, invalid, not-found, refused, unreachable,")
	p("build, timeout or interrupted, and `code` the exit code. Fields may be added.\n")
	p("```json\n%s\n```\n", `{"error":{"kind":"refused","code":5,"message":"…","details":"…","hint":"…"}}`)
	p("With `--progress json` each step is such a line, too, and an error as well; `status` is working, done, failed, skipped, note or log.\n")
	p("```json\n%s\n```\n", `{"progress":{"time":"2026-01-02T15:04:05.123Z","id":"example/build","status":"working","text":"build images/example"}}`)
	p("## The definition\n")
	p("`domain/NAME.yaml` describes the machine NAME: small letters, digits and `-`, %d characters at most.", spec.NameLength)
	p("`vmctl schema` prints the JSON schema, `vmctl validate` checks definitions. GiB is 1024³ bytes, GB is 1000³.\n")
	p("| key | value | default | meaning |\n|---|---|---|---|")
	for _, f := range spec.Fields() {
		p("| `%s` | %s, such as `%s` | %s | %s |", f.Key, cell(f.Type), f.Example, cell(f.Default), cell(f.Doc))
	}
	return b.String()
}

// referenceOf is the chapter of one command.
func referenceOf(v *command) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("## vmctl %s\n\n%s.\n\n    %s\n", v.path(), v.summary, v.usage())
	for _, text := range v.about {
		p("%s\n", text)
	}
	if len(v.options) > 0 {
		p("%s", optionTable(v.options))
	}
	if len(v.examples) > 0 {
		p("```sh")
		for _, e := range v.examples {
			if e.what == "" {
				p("%s", e.line)
				continue
			}
			p("%s  # %s", e.line, e.what)
		}
		p("```\n")
	}
	if v.json != "" {
		p("`-o json` prints (fields may be added):\n\n```json\n%s\n```\n", v.json)
	}
	return b.String()
}

func optionTable(options []option) string {
	var b strings.Builder
	b.WriteString("| flag | meaning |\n|---|---|\n")
	for _, o := range options {
		fmt.Fprintf(&b, "| `%s` | %s |\n", o.synopsis(), cell(o.describe()))
	}
	return b.String()
}

func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

// environment are the variables that vmctl heeds.
func environment() [][2]string {
	return [][2]string{
		{envProject, "the project directory, as `-C`"},
		{envAccel, "how guests' CPUs are run, as `--accel` of `up` and `plan`"},
		{envURI, "the libvirt host where neither `-c` nor the definition names one, as in virsh"},
		{"NO_COLOR", "no colours, unless it is empty"},
		{"CLICOLOR_FORCE", "colours also where the output is no terminal"},
		{"TERM", "`dumb` or none: no control sequences"},
		{"COLUMNS", "the width of a terminal that does not know its own"},
		{"LC_ALL, LC_CTYPE, LANG", "whether more than ASCII can be shown"},
		{"XDG_CACHE_HOME", "where images that were downloaded, unpacked or converted are kept, and results of builds are remembered; may be emptied at any time (`~/.cache`)"},
		{"HTTPS_PROXY, HTTP_PROXY, NO_PROXY", "the proxy through which images are downloaded, and for whom not"},
		{"SSL_CERT_FILE, SSL_CERT_DIR", "the certification authorities that are trusted for downloads, instead of the system's"},
		{"XDG_STATE_HOME", "where images in use are kept from nix's garbage collection (`~/.local/state`)"},
		{"XDG_RUNTIME_DIR", "where locks lie while a command runs"},
		{"NIX_STORE_DIR, NIX_STATE_DIR, NIX_REMOTE", "nix's own: which store it builds into"},
	}
}

func TestTheEnvironmentIsDocumented(t *testing.T) {
	documented := ""
	for _, row := range environment() {
		documented += row[0] + " "
	}
	options := globals()
	for _, v := range withVerbs(commands()) {
		options = append(options, v.options...)
	}
	for _, o := range options {
		assert.Contains(t, documented, o.env)
	}
}
