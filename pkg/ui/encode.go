package ui

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode"

	"vmctl/pkg/fault"
)

// JSON writes v to standard output as one indented JSON document.
func JSON(s *Streams, v any) error {
	document, err := encode(v, "  ")
	if err != nil {
		return fault.New(fault.Other, "the result cannot be written as JSON: %w", err)
	}
	_, err = s.Out.Write(document)
	return err
}

// jsonLine is v, one of our own structs of strings and numbers, as one line of JSON.
func jsonLine(v any) []byte {
	line, err := encode(v, "")
	if err != nil {
		return nil
	}
	return line
}

func encode(v any, indent string) ([]byte, error) {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetIndent("", indent)
	encoder.SetEscapeHTML(false) // a path with an & is for people too
	if err := encoder.Encode(v); err != nil {
		return nil, err
	}
	return escapeControls(buffer.Bytes()), nil
}

// escapeControls escapes what JSON allows in strings but terminals act upon: DEL,
// the C1 controls and the characters that turn the direction of writing. They can
// stand nowhere but in strings.
func escapeControls(document []byte) []byte {
	acts := func(r rune) bool { return r >= 0x7F && r < 0xA0 || unicode.Is(unicode.Bidi_Control, r) }
	if !bytes.ContainsFunc(document, acts) {
		return document
	}
	var out bytes.Buffer
	for _, r := range string(document) {
		if acts(r) {
			fmt.Fprintf(&out, `\u%04x`, r)
		} else {
			out.WriteRune(r)
		}
	}
	return out.Bytes()
}
