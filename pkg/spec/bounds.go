package spec

import (
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"
)

const (
	// maxDepth is far more than the four levels that a definition has.
	maxDepth = 8
	// maxTokens is several times what the largest sensible definition has.
	maxTokens = 4096
	// maxBlank is more empty lines in a row than anybody leaves. The YAML library takes time
	// quadratic in their number: for a file of nothing else, a minute.
	maxBlank = 256
)

// excess finds the first place where a file is nested deeper or is longer than any
// definition, from its tokens alone, and says what is wrong there. The YAML library
// descends without a bound, keeps a path for every level, and takes time quadratic
// in the number of keys.
func excess(text string) (at place, msg string) {
	return beyond(text, maxDepth, maxTokens, "a machine definition")
}

// beyond is excess for any YAML, called what.
func beyond(text string, depth, most int, what string) (at place, msg string) {
	defer func() {
		if recover() != nil {
			at, msg = place{1, 1, 1}, "the file cannot be read as YAML"
		}
	}()
	blank, number := 0, 0
	for line := range strings.Lines(text) {
		if number++; strings.TrimSpace(line) != "" {
			blank = 0
		} else if blank++; blank > maxBlank {
			return place{number, 1, 1}, "there are more than " + strconv.Itoa(maxBlank) + " empty lines in a row"
		}
	}
	flow, run, tokens := 0, 0, 0
	var last *token.Token
	for _, tk := range lexer.Tokenize(text) {
		switch tk.Type {
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow--
		case token.CommentType:
			continue
		}
		switch tk.Type {
		case token.SequenceEntryType:
			// Entries of a tall list without values follow each other too, line by line.
			if last != nil && last.Position.Line != tk.Position.Line {
				run = 0
			}
			run++
		case token.MappingKeyType, token.TagType, token.AnchorType, token.AliasType:
			run++
		default:
			run = 0
		}
		here := place{tk.Position.Line, tk.Position.Column, 1}
		if flow > depth || run > depth || tk.Position.IndentLevel > 4*depth {
			return here, what + " is not nested this deeply"
		}
		if tokens++; tokens > most {
			return here, what + " is not this long"
		}
		last = tk
	}
	return place{}, ""
}
