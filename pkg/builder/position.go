package builder

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// maxSource bounds the files that are read to show a line of them.
const maxSource = 4 << 20

// Position is a place in the person's own files.
type Position struct {
	// File as the person would write it. Line and Column count from 1; Column 0 is
	// unknown, and so is Line 0.
	File         string
	Line, Column int
	// Source is the line itself, tabs as they are.
	Source string
	// path is the file's absolute path.
	path string
}

// Place is file:line:column, as far as known.
func (p *Position) Place() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Column == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// String shows the line with a caret below it; empty when the line is not known.
func (p *Position) String() string {
	if p.Source == "" {
		return ""
	}
	number := strconv.Itoa(p.Line)
	margin := strings.Repeat(" ", len(number))
	s := fmt.Sprintf("%s--> %s\n %s | %s\n", margin, p.Place(), number, p.Source)
	if p.Column > 0 && p.Column <= len(p.Source)+1 {
		// Tabs stay tabs, so that the caret stands below its character.
		indent := strings.Map(func(r rune) rune {
			if r == '\t' {
				return '\t'
			}
			return ' '
		}, p.Source[:p.Column-1])
		s += fmt.Sprintf(" %s | %s^\n", margin, indent)
	}
	return s
}

// sourceFile matches a file of a flake's source in nix's words: a copy in the store, or
// a «git+file:///…»/file of a nix that does not copy. Its bounds make it dear to compile,
// which no start of the program should pay for.
var sourceFile = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?:(/[^\s'"` + "`" + `«»:]*/[0-9a-z]{32}-source)|«([^»]{1,1000})»)/([^\s'"` + "`" + `«»:]+)(?::(\d{1,9})(?::(\d{1,9}))?)?`)
})

// workTree stands for the flake's own tree where sourceFile wants a source.
const workTree = "work tree"

// sourceFiles finds the files of flakes' sources in a text. A recent nix names those of
// a repository where they lie, outside of the store: root's are marked as its own.
func sourceFiles(root, text string) [][]string {
	if root != "/" {
		lies := regexp.MustCompile(`(^|[\s'"` + "`" + `])` + regexp.QuoteMeta(root) + `/`)
		text = lies.ReplaceAllString(text, "${1}«"+workTree+"»/")
	}
	return sourceFile().FindAllStringSubmatch(text, maxPlaces)
}

// ownSource says that what stands between « and » is the tree at root, and no input.
func ownSource(root, source string) bool {
	if source == workTree {
		return true
	}
	for _, scheme := range []string{"git+file://", "path:"} {
		if dir, ok := strings.CutPrefix(source, scheme); ok {
			dir, _, _ = strings.Cut(dir, "?")
			return dir == root
		}
	}
	return false
}

// locate finds the first place of an error that lies in the flake's own tree.
func locate(ref Ref, p problem) *Position {
	if !ref.local() {
		return nil
	}
	if p.file != "" {
		at := fmt.Sprintf("%s:%d:%d", sourceSuffix.ReplaceAllString(p.file, ""), p.line, p.column)
		if pos := own(ref, at); pos != nil {
			return pos
		}
	}
	if pos := own(ref, p.text); pos != nil {
		return pos
	}
	return traced(ref, p, "")
}

// traced is the last place of a trace: it begins with what was asked for and ends at
// the error. nix 2.8 has none unless asked.
// The error's own subject is no such place.
func traced(ref Ref, p problem, subject string) *Position {
	places := sourceFiles(treeRoot(ref.Flake), p.full)
	slices.Reverse(places)
	return firstOwn(ref, places, subject)
}

// sourceSuffix is the :line:column that newer versions put into file as well.
var sourceSuffix = regexp.MustCompile(`(:\d+){1,2}$`)

// own is the first place in a text that lies in the flake's own tree.
func own(ref Ref, text string) *Position {
	return firstOwn(ref, sourceFiles(treeRoot(ref.Flake), text), "")
}

// maxPlaces bounds how many places of one error are looked at.
const maxPlaces = 200

func firstOwn(ref Ref, places [][]string, except string) *Position {
	if !ref.local() {
		return nil
	}
	root := treeRoot(ref.Flake)
	for _, m := range places {
		rel := filepath.Clean(m[3])
		if !filepath.IsLocal(rel) || m[1] == "" && !ownSource(root, m[2]) {
			continue
		}
		file := filepath.Join(root, rel)
		if file == except {
			continue
		}
		line, _ := strconv.Atoi(m[4])
		column, _ := strconv.Atoi(m[5])
		mine, ok := readSource(file)
		if !ok {
			continue
		}
		// An input's source has the same kind of name: only equal content proves
		// that the file is this one.
		if m[1] != "" {
			if stored, ok := readSource(filepath.Join(m[1], rel)); ok && !bytes.Equal(stored, mine) {
				continue
			}
		}
		pos := &Position{File: ref.show(file), Line: line, Column: column, path: file}
		pos.Source = lineOf(mine, line)
		return pos
	}
	return nil
}

// readSource reads a text file of sane size.
func readSource(path string) ([]byte, bool) {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxSource {
		return nil, false
	}
	data, err := os.ReadFile(path)
	return data, err == nil
}

func lineOf(data []byte, n int) string {
	lines := bufio.NewScanner(bytes.NewReader(data))
	for i := 1; lines.Scan(); i++ {
		if i == n {
			return clip(strings.TrimRight(printable(lines.Text()), " "), 400)
		}
	}
	return ""
}

// printable keeps a line's length: a column must still point at its character.
func printable(line string) string {
	return strings.Map(func(r rune) rune {
		if r != '\t' && (r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069) {
			return '?'
		}
		return r
	}, line)
}

// treeRoot is the directory that nix copies for a flake's directory: that of the
// repository it lies in, else the flake's own.
func treeRoot(dir string) string {
	for at := dir; ; at = filepath.Dir(at) {
		if exists(filepath.Join(at, ".git")) {
			return at
		}
		if at == filepath.Dir(at) {
			return dir
		}
	}
}
