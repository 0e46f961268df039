package spec

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	yamlparser "github.com/goccy/go-yaml/parser"

	"vmctl/pkg/fault"
)

const (
	// MaxBytes is the largest definition that is read; a real one has a few hundred bytes.
	MaxBytes = 64 << 10
	// A report with more problems than this would only hide the first.
	maxProblems = 20
)

// Parse reads the definition of the machine called name. file is what the report
// calls the file. The error is a *Error with everything that is wrong.
func Parse(name, file string, data []byte) (*Machine, error) {
	return ParseOver(Defaults(name), file, data)
}

// ParseOver reads a definition whose keys count more than what base says already. It
// changes base.
func ParseOver(base *Machine, file string, data []byte) (*Machine, error) {
	p := &parser{file: file, m: base, keys: map[string]place{}, wrong: map[string]bool{}, listed: map[string]bool{}}
	if err := CheckName(base.Name); err != nil {
		p.fail(place{}, "", err)
	}
	p.parse(data)
	if len(p.problems) == 0 {
		return p.m, nil
	}
	e := &Error{Problems: p.problems}
	e.sort()
	if n := len(e.Problems) - maxProblems; n > 0 {
		last := e.Problems[maxProblems-1]
		e.Problems = e.Problems[:maxProblems]
		last.Path, last.Hint = "", ""
		last.Msg = fmt.Sprintf("and %d more problems from here on", n+1)
		e.Problems[maxProblems-1] = last
	}
	return nil, e
}

// Defaults is the machine that a definition without keys would describe.
func Defaults(name string) *Machine {
	return &Machine{
		Name:     name,
		Image:    Image{Kind: ImageFlake, Ref: "images/" + name},
		Memory:   defaultMemory,
		CPUs:     defaultCPUs,
		SSH:      freshSSH(""),
		Accel:    AccelAuto,
		Firmware: FirmwareBIOS,
	}
}

// place is a stretch of one line; the zero place is the whole file.
type place struct{ line, column, width int }

type parser struct {
	file  string
	lines []string
	m     *Machine
	// keys is where each key stands, by its path; wrong are the paths below which a
	// problem was found.
	keys     map[string]place
	wrong    map[string]bool
	problems []Problem
	// listed says of which things a hint listed all keys; once is enough.
	listed map[string]bool
}

func (p *parser) parse(data []byte) {
	text, ok := p.text(data)
	if !ok {
		return
	}
	if at, msg := excess(text); msg != "" {
		p.add(at, "", msg, "")
		return
	}
	file, err := parseYAML(text)
	if err != nil {
		p.syntax(err)
		return
	}
	if body := p.body(file); body != nil {
		p.mapping(body, fields(), scope{what: "a machine definition"})
		p.together()
	}
}

// text checks what no parser should be bothered with, and splits into lines.
func (p *parser) text(data []byte) (string, bool) {
	if len(data) > MaxBytes {
		p.add(place{}, "", fmt.Sprintf("the file has more than %s, which cannot be a machine definition", Size(MaxBytes)), "")
		return "", false
	}
	text := strings.TrimPrefix(string(data), "\ufeff")
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")
	p.lines = strings.Split(strings.ToValidUTF8(text, "\ufffd"), "\n")
	line, column := 1, 1
	for i, r := range text {
		_, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			p.add(place{line, column, 1}, "", "the file is not UTF-8 text", "save it as UTF-8")
			return "", false
		case r == '\n':
			line, column = line+1, 0
		case r != '\t' && r < 0x20, r >= 0x7f && r < 0xa0, r == '\u2028', r == '\u2029', r == '\ufeff':
			p.add(place{line, column, 1}, "", fmt.Sprintf("the file contains the control character %U", r), "delete it")
			return "", false
		}
		column++
	}
	return text, true
}

// parseYAML keeps a fault in the YAML library from taking the program with it:
// what it reads comes from strangers.
func parseYAML(text string) (file *ast.File, err error) {
	defer func() {
		if recover() != nil {
			file, err = nil, errors.New("the file cannot be read as YAML")
		}
	}()
	// Duplicate keys are found here, all of them, rather than by the library.
	return yamlparser.ParseBytes([]byte(text), 0, yamlparser.AllowDuplicateMapKey())
}

// body is the one mapping that a definition consists of; nil after a problem.
func (p *parser) body(file *ast.File) []*ast.MappingValueNode {
	var body ast.Node
	for _, doc := range file.Docs {
		switch {
		case doc.Body == nil || doc.Body.Type() == ast.CommentType:
			continue
		case doc.Body.Type() == ast.DirectiveType:
			p.add(p.place(doc.Body), "", "a machine definition has no YAML directives", "delete the line")
			return nil
		case body != nil:
			p.add(p.place(doc.Body), "", "the file has more than one YAML document", "write each machine in a file of its own, without ---")
			return nil
		}
		body = doc.Body
	}
	hint := fmt.Sprintf("the smallest definition is one line: image: images/%s", p.m.Name)
	switch node := body.(type) {
	case nil:
		p.add(place{1, 1, 1}, "", "the definition is empty", hint)
	case *ast.MappingNode:
		if len(node.Values) > 0 {
			return node.Values
		}
		p.add(p.place(node), "", "the definition is empty", hint)
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{node}
	default:
		p.add(p.place(body), "", fmt.Sprintf("a definition is lines of KEY: VALUE, but this is %s", kindOf(body)), hint)
	}
	return nil
}

// together checks what depends on more than one key. A key that is wrong by itself
// is not held against others.
func (p *parser) together() {
	p.imageTogether()
	if p.m.SecureBoot && !p.wrong["firmware"] && p.m.Firmware != FirmwareEFI {
		p.add(p.keys["secure-boot"], "secure-boot", "secure boot needs UEFI firmware", "add firmware: efi")
	}
	p.networks()
	p.carried()
	for _, share := range p.m.Shares {
		if i := slices.IndexFunc(p.m.Volumes, func(v Volume) bool { return v.Mount == share.Target }); i >= 0 {
			at := "shares." + share.Tag + ".target"
			p.add(p.keys[at], at, fmt.Sprintf("volume %s is mounted there already", p.m.Volumes[i].Name), "choose another directory")
		}
	}
	if t := p.m.CPU.Topology; t.CPUs() > 0 && t.CPUs() != p.m.CPUs && !p.wrong["cpus"] && !p.wrong["cpu"] {
		p.add(p.keys["cpu.topology"], "cpu.topology", fmt.Sprintf("%s are %d CPUs, but the machine has %d", t, t.CPUs(), p.m.CPUs),
			fmt.Sprintf("write cpus: %d, or another topology", t.CPUs()))
	}
	if page := p.m.Hugepages; page > 0 && p.m.Memory%page != 0 && !p.wrong["memory"] {
		p.add(p.keys["hugepages"], "hugepages", fmt.Sprintf("memory is %s, which is not a multiple of pages of %s", p.m.Memory, page),
			"make memory a multiple of it")
	}
}

// networks checks network, interfaces and ports against each other.
func (p *parser) networks() {
	_, named := p.keys["network"]
	if len(p.m.Interfaces) > 0 && named {
		p.add(p.keys["network"], "network", "the cards are those under interfaces, and network would be one more", "keep one of the two keys")
		return
	}
	user := slices.ContainsFunc(p.m.Interfaces, func(i Interface) bool { return i.Link == LinkUser })
	switch {
	case len(p.m.Ports) == 0 || p.m.Network == NetworkUser || user || p.wrong["interfaces"]:
	case p.m.Network == NetworkNone:
		p.add(p.keys["ports"], "ports", "ports cannot be forwarded without a network",
			"write network: user, or take the ports out: the guest has an address of its own on a network")
	case p.m.Network != "":
		p.add(p.keys["ports"], "ports", fmt.Sprintf("ports are forwarded on user networking only, but the network is %s", p.m.Network),
			"write network: user, or take the ports out: the guest has an address of its own on a network")
	case len(p.m.Interfaces) > 0:
		p.add(p.keys["ports"], "ports", "ports are forwarded on user networking only, and no interface has that",
			"add - user: true to the interfaces, or take the ports out")
	}
}

// syntax turns the library's words for YAML that is none into plainer ones.
func (p *parser) syntax(err error) {
	at, msg := place{1, 1, 1}, err.Error()
	if syntax, ok := errors.AsType[yaml.Error](err); ok {
		msg = syntax.GetMessage()
		if token := syntax.GetToken(); token != nil {
			at = place{token.Position.Line, token.Position.Column, 1}
		}
	}
	hint := ""
	switch {
	case strings.Contains(msg, `'`+"\t"+`'`), strings.Contains(msg, "tab character"):
		msg, hint = "a tab stands where only spaces may", "indent with spaces"
		if at.line > 0 && at.line <= len(p.lines) {
			// The library may point behind the key.
			source := p.lines[at.line-1]
			indent := source[:len(source)-len(strings.TrimLeft(source, " \t"))]
			if tab := strings.IndexByte(indent, '\t'); tab >= 0 {
				at.column = tab + 1
			}
		}
	case strings.Contains(msg, "mapping value is not allowed"):
		msg, hint = "a second : in one value", "check the indentation, or put text that contains : and a space in quotes"
	case strings.Contains(msg, "could not find end character"):
		msg = "this quote is never closed"
	case strings.Contains(msg, "end token ']' not found"), strings.Contains(msg, "end token '}' not found"):
		msg = "this bracket is never closed"
	case strings.Contains(msg, "must be specified"):
		msg, hint = "a list or mapping that was opened before is not closed here", "add the missing ] or }, or a comma"
	case strings.Contains(msg, "reserved character"), strings.Contains(msg, "directive"):
		msg, hint = "a value cannot begin with this character", "put the value in quotes"
	case strings.Contains(msg, "invalid key"), strings.Contains(msg, "non-map value"), strings.Contains(msg, "unexpected key name"):
		msg, hint = "this is not a line of KEY: VALUE", "check the colon and the indentation"
	default:
		msg = "this is not YAML: " + msg
	}
	p.add(at, "", msg, hint)
}

// add notes a problem. The place is moved into the file if it is outside of it.
func (p *parser) add(at place, path, msg, hint string) {
	p.wrong[path] = true
	for i, r := range path {
		if r == '.' || r == '[' {
			p.wrong[path[:i]] = true
		}
	}
	problem := Problem{File: p.file, Path: path, Msg: msg, Hint: hint}
	if at.line > 0 {
		if len(p.lines) == 0 {
			p.lines = []string{""}
		}
		problem.Line = min(at.line, len(p.lines))
		problem.Source = p.lines[problem.Line-1]
		length := utf8.RuneCountInString(problem.Source)
		problem.Column = min(max(at.column, 1), length+1)
		problem.Width = max(1, min(at.width, length-problem.Column+1))
	}
	p.problems = append(p.problems, problem)
}

// fail notes an error with its hint.
func (p *parser) fail(at place, path string, err error) {
	p.add(at, path, err.Error(), fault.HintOf(err))
}
