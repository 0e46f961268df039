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
