package pkg_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// parsers are the functions that read what somebody else wrote and that no decoder's name
// gives away: definitions from another's repository, what nix, libvirt and QEMU print, what
// a guest says. Each is reached from a fuzz target of its own package. Functions that call
// a decoder (decoders) need not stand here: they are found.
func parsers() map[string][]string {
	return map[string][]string{
		"pkg/ansi":              {"Plain", "NewWriter", "NewReplay", "NewLive"},
		"pkg/builder":           {"parseEvent", "line", "classify", "parseProducts", "parseAttr", "parseGoal", "parseBuilt", "parseOutcome", "parseFlake", "parseAnswer", "parseNames", "parseVersion", "parseSeen", "locked"},
		"pkg/cli":               {"parseEnd", "parseForward", "changeLines", "read"},
		"pkg/cloudinit":         {"CheckUserData", "ParseKeys"},
		"pkg/console":           {"known", "overlap"},
		"pkg/engine":            {"parseBase", "readBases", "parseDataVolume", "SplitVolume", "DecodeOrigin", "rebased", "next"},
		"pkg/guest":             {"ParseReport", "readReports", "ParseHostKeys", "unpack", "stageOf", "ask", "state"},
		"pkg/ssh":               {"Of"},
		"pkg/hosts":             {"Open", "parseLine"},
		"pkg/image":             {"parse", "sniff", "FromThere", "vmdk", "vdi", "vhd", "vhdx"},
		"pkg/image/checksum":    {"Find"},
		"pkg/image/fetch":       {"contentRange"},
		"pkg/libvirt":           {"CheckURI", "locate", "parseDomain", "parseHead", "fromRecord", "parseVolume", "parsePool", "parseDHCP", "parseCapabilities", "parseDomainCapabilities", "parseDevice", "parseScreen", "diskElement", "parseAgentAddresses", "printable"},
		"pkg/libvirt/domainxml": {"merge", "Relocate"},
		"pkg/proc":              {"splitter"},
		"pkg/screen":            {"decode", "decodePPM"},
		"pkg/secret":            {"parseHostKey", "NewPack"},
		"pkg/spec":              {"Parse", "Describe", "ParseSize", "ParsePort", "ParseImage", "ParseReady", "CheckHost", "elements"},
		"pkg/ui":                {"cut"},
	}
}

// decoders are calls by which a function shows that it reads a format.
func decoders() []string {
	return []string{"json.Unmarshal", "json.NewDecoder", "xml.Unmarshal", "xml.NewDecoder", "tar.NewReader", "yaml.Unmarshal", "parser.ParseBytes", "ssh.ParseRawPrivateKey", "base64.StdEncoding.DecodeString", "mime.ParseMediaType", "mail.ReadMessage"}
}

// trusted are functions that decode something and need no target of their own, with the
// reason: what they read was written by vmctl itself, as a rule.
func trusted() map[string]string {
	const own = "vmctl's own file, in a directory that nobody else may write to"
	return map[string]string{
		"pkg/builder lockHash":     "FuzzClassify reaches it, by a table",
		"pkg/builder read":         own,
		"pkg/cli readImageNote":    own,
		"pkg/cli reportOf":         own,
		"pkg/image recall":         own,
		"pkg/image/cache readJSON": own,
		"pkg/secret Public":        own,
		"pkg/spec exampleOf":       "an example in the source",
		"pkg/libvirt withPrefix":   "XML that was rendered just now",

		"pkg/engine/enginetest DefineMoved": "the fake's own",
	}
}

// function is what is known of one: the names that its body uses.
type function struct {
	uses   map[string]bool
	decode bool
	fuzz   bool
}

// TestEveryParserIsFuzzed: who adds a parser adds a target, or says why nobody else writes
// what it reads.
func TestEveryParserIsFuzzed(t *testing.T) {
	packages := functions(t)
	reasons := trusted()
	var targets []string
	for dir, all := range packages {
		reached := reach(all)
		for name, f := range all {
			if f.fuzz {
				targets = append(targets, dir+" "+name)
			}
			if _, excused := reasons[dir+" "+name]; f.decode && !excused {
				assert.True(t, reached[name], "%s: %s decodes something and no fuzz target of its package reaches it: write one, or put it into trusted() with the reason", dir, name)
			}
			delete(reasons, dir+" "+name)
		}
		for _, name := range parsers()[dir] {
			if assert.Contains(t, all, name, "%s has no %s any more: change parsers()", dir, name) {
				assert.True(t, reached[name], "%s: no fuzz target reaches %s", dir, name)
			}
		}
	}
	assert.Empty(t, reasons, "these are no functions any more: change trusted()")
	for dir := range parsers() {
		assert.Contains(t, packages, dir)
	}

	out, err := exec.CommandContext(t.Context(), "../.ci/fuzz", "--list").Output()
	require.NoError(t, err)
	listed := strings.Split(strings.TrimSpace(string(out)), "\n")
	assert.ElementsMatch(t, targets, listed, ".ci/fuzz runs every target")
}

// reach is every function, type and method, by its bare name, that a fuzz target leads to.
func reach(all map[string]*function) map[string]bool {
	reached := map[string]bool{}
	var visit func(name string)
	visit = func(name string) {
		f := all[name]
		if f == nil || reached[name] {
			return
		}
		reached[name] = true
		for name, used := range f.uses {
			if used {
				visit(name)
			}
		}
	}
	for name, f := range all {
		if f.fuzz {
			visit(name)
		}
	}
	return reached
}

// functions are those of each directory below pkg, tests included. Functions of one name,
// such as methods of several types, count as one.
func functions(t *testing.T) map[string]map[string]*function {
	t.Helper()
	packages := map[string]map[string]*function{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || filepath.Dir(path) == "." {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		dir := "pkg/" + filepath.ToSlash(filepath.Dir(path))
		if packages[dir] == nil {
			packages[dir] = map[string]*function{}
		}
		for _, decl := range file.Decls {
			test := strings.HasSuffix(path, "_test.go")
			switch d := decl.(type) {
			case *ast.FuncDecl:
				note(packages[dir], d.Name.Name, d, test)
			case *ast.GenDecl:
				for _, s := range d.Specs {
					if named, ok := s.(*ast.TypeSpec); ok {
						note(packages[dir], named.Name.Name, named, test)
					}
					if values, ok := s.(*ast.ValueSpec); ok {
						for _, name := range values.Names {
							note(packages[dir], name.Name, values, test)
						}
					}
				}
			}
		}
		return nil
	})
	require.NoError(t, err)
	return packages
}

func note(all map[string]*function, name string, node ast.Node, test bool) {
	f := all[name]
	if f == nil {
		f = &function{uses: map[string]bool{}}
		all[name] = f
	}
	f.fuzz = f.fuzz || test && strings.HasPrefix(name, "Fuzz")
	ast.Inspect(node, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Ident:
			// The program's own functions lead to what they call; that they mention a
			// function, as a table of commands does, is not enough.
			f.uses[n.Name] = f.uses[n.Name] || test
		case *ast.CallExpr:
			called := spelled(n.Fun)
			f.uses[called[strings.LastIndexByte(called, '.')+1:]] = true
			f.decode = f.decode || !test && slices.Contains(decoders(), called)
		}
		return true
	})
}

// spelled is a selector as it stands in the source, such as json.Unmarshal.
func spelled(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.IndexExpr:
		return spelled(e.X)
	case *ast.SelectorExpr:
		return spelled(e.X) + "." + e.Sel.Name
	case *ast.Ident:
		return e.Name
	}
	return ""
}
