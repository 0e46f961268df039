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
		"ssh":     {"shell", "connect", "login"},
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
