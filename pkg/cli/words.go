package cli

import (
	"slices"
	"strings"

	"vmctl/pkg/spec"
)

func join(words []string, with string) string { return strings.Join(words, with) }

// suggest is the word most like a wrong one, or empty when none is near.
func suggest(word string, among []string) string { return spec.Nearest(word, among) }

func contains(words []string, word string) bool { return slices.Contains(words, word) }

func fields(text string) []string { return strings.Fields(text) }
