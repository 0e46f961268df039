package cli

import (
	"fmt"
	"slices"
	"strings"

	"vmctl/pkg/spec"
)

func join(words []string, with string) string { return strings.Join(words, with) }

// suggest is the word most like a wrong one, or empty when none is near.
func suggest(word string, among []string) string { return spec.Nearest(word, among) }

func contains(words []string, word string) bool { return slices.Contains(words, word) }

func fields(text string) []string { return strings.Fields(text) }

// counted is a number of things: "1 image", "3 images".
func counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// sameVerb is the verb of a noun that says what another word does, as ls does list; empty for others.
func sameVerb(word string, verbs []string) string {
	for _, same := range [][]string{
		{"list", "ls"},
		{"rm", "remove", "delete", "del"},
		{"add", "create", "new"},
		{"inspect", "info", "show"},
		{"prune", "clean", "gc"},
		{"resize", "grow"},
		{"check", "test", "doctor"},
	} {
		if !contains(same, word) {
			continue
		}
		for _, verb := range verbs {
			if contains(same, verb) {
				return verb
			}
		}
	}
	return ""
}

// elsewhereWord says how a person gets what vmctl has no command for; empty for what is not known.
func elsewhereWord(word string) string {
	switch word {
	case "edit":
		return "edit domain/NAME.yaml, then: vmctl up NAME"
	case "dumpxml", "suspend", "domstats":
		return "virsh " + word + " NAME does it: a machine is a domain as any other"
	case "pause":
		return "virsh suspend NAME does it: a machine is a domain as any other"
	}
	return ""
}

// ourWord is the command for what virsh and other tools call something else; empty for
// a word of none of them.
func ourWord(word string) string {
	for ours, theirs := range map[string][]string{
		"up":      {"create", "run", "launch", "deploy", "define"},
		"down":    {"rm", "remove", "delete", "destroy", "undefine"},
		"start":   {"boot"},
		"stop":    {"shutdown", "halt", "poweroff"},
		"restart": {"reboot", "reset"},
		"list":    {"ls", "ps", "status", "machines"},
		"info":    {"show", "inspect", "describe", "dominfo"},
		"ip":      {"domifaddr", "address"},
		"console": {"attach", "serial"},
		"ssh":     {"shell", "connect", "login", "enter"},
		"plan":    {"diff"},
		"logs":    {"log"},
		"migrate": {"move", "mv"},
	} {
		if contains(theirs, word) {
			return ours
		}
	}
	return ""
}
