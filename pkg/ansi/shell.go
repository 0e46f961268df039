package ansi

import "strings"

// plainWord are the characters that mean nothing to a shell.
const plainWord = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789./_+-@%:,="

// ShellWord is s as one word of a command that people may copy: harmless to the terminal,
// and to a POSIX shell.
func ShellWord(s string) string {
	s = Line(s)
	if s != "" && strings.Trim(s, plainWord) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
