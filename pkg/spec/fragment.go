package spec

import (
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"vmctl/pkg/fault"
)

// The keys of a fragment that say what it does.
const (
	keyAdd     = "add"
	keyReplace = "replace"
	keyRemove  = "remove"
)

const (
	fragmentLength = 16 << 10
	placeLength    = 200
	placePattern   = `^/?([A-Za-z][A-Za-z0-9_-]*(\[[1-9][0-9]?\])?)(/[A-Za-z][A-Za-z0-9_-]*(\[[1-9][0-9]?\])?)*$`
)

// Fragment is a change of the domain's XML that the definition asks for itself. One of
// Add, Replace and Remove is set.
type Fragment struct {
	// At is an element, as a path below <domain>: "devices", "devices/interface[2]"; empty is
	// <domain> itself.
	At string
	// Add is one or more elements that come into the one at At.
	Add string
	// Replace is one or more elements that come in place of the one at At.
	Replace string
	// Remove takes the one at At out.
	Remove bool
}

// XML is what the fragment brings.
func (f Fragment) XML() string { return f.Add + f.Replace }

// Does is what the fragment does, in a word for people.
func (f Fragment) Does() string {
	switch {
	case f.Remove:
		return "removes"
	case f.Replace != "":
		return "replaces"
	default:
		return "adds"
	}
}

// Step is one element of a fragment's place.
type Step struct {
	// Name is the element's, Index which of that name, from 1; 0 names no particular
	// one: the first, which is made when there is none.
	Name  string
	Index int
}

// Steps is the fragment's place, below <domain>.
func (f Fragment) Steps() []Step {
	var steps []Step
	for word := range strings.SplitSeq(strings.Trim(f.At, "/"), "/") {
		name, index, _ := strings.Cut(strings.TrimSuffix(word, "]"), "[")
		n, _ := strconv.Atoi(index) // none is 0
		if name != "" && (name != "domain" || len(steps) > 0) {
			steps = append(steps, Step{name, n})
		}
	}
	return steps
}

// Elements are the names of what the fragment brings, as they stand in it.
func (f Fragment) Elements() []string {
	names, _ := elements(f.XML())
	return names
}

// checkFragment says why a fragment cannot be put into a domain's XML, and which of its
// keys is to blame. Whose the domain is, is vmctl's to say: its name, UUID, metadata and
// disks stay as they are.
func checkFragment(f Fragment) (key string, err error) {
	if f.At != "" && (len(f.At) > placeLength || !regexp.MustCompile(placePattern).MatchString(f.At)) {
		return "at", fault.New(fault.Usage, "%s is not a place in a domain's XML", quote(f.At)).
			WithHint("write the names of elements below <domain>, such as devices or devices/interface[2]")
	}
	key = keyAdd
	var names []string
	switch {
	case f.Remove:
		key = keyRemove
	case f.Replace != "":
		key = keyReplace
	}
	if !f.Remove {
		if names, err = elements(f.XML()); err != nil {
			return key, err
		}
	}
	own := func(what, hint string) error {
		return fault.New(fault.Usage, "%s is vmctl's own and cannot be changed by a fragment", what).WithHint("%s", hint)
	}
	const beside = "fragments are for what the other keys do not cover"
	steps := f.Steps()
	identity := []string{"name", "uuid", "metadata", "domain"}
	switch {
	case len(steps) == 0 && key != keyAdd:
		return "at", fault.New(fault.Usage, "<domain> itself can be neither replaced nor removed").WithHint("name an element below it, such as at: clock")
	case len(steps) > 0 && slices.Contains(identity, steps[0].Name):
		return "at", own("<"+steps[0].Name+">", beside)
	case len(steps) > 1 && steps[0].Name == "devices" && steps[1].Name == "disk":
		return "at", own("a disk", beside)
	case len(steps) == 1 && key != keyAdd:
		// What is read back from the host, to see whether it is as declared.
		if hint, counted := map[string]string{
			"devices": "name one of them, such as at: devices/rng", "memory": "write memory: 2GiB",
			"currentMemory": "write memory: 2GiB", "vcpu": "write cpus: 2",
		}[steps[0].Name]; counted {
			return "at", own("<"+steps[0].Name+">", hint)
		}
	}
	if len(steps) > 1 || len(steps) == 1 && key == keyAdd {
		return "", nil
	}
	for _, name := range names {
		if slices.Contains(identity, name) {
			return key, own("<"+name+">", beside)
		}
	}
	return "", nil
}

// elements are the names of the outermost elements of a fragment. It must be whole
// elements: no text beside them, and nothing that an XML parser would obey.
func elements(fragment string) (names []string, err error) {
	bad := func(format string, args ...any) error {
		return fault.New(fault.Usage, "this is not XML that can be added: "+format, args...).
			WithHint("write whole elements, such as <sound model='ich9'/>")
	}
	decoder := xml.NewDecoder(strings.NewReader(fragment))
	spaces := []string{"", "xml", "xmlns"}
	for depth := 0; ; {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if syntax, ok := errors.AsType[*xml.SyntaxError](err); ok {
			return nil, bad("%s in its line %d", syntax.Msg, syntax.Line)
		}
		if err != nil {
			return nil, bad("%s", err)
		}
		switch t := token.(type) {
		case xml.StartElement:
			if depth == 0 {
				names = append(names, t.Name.Local)
			}
			depth++
			for _, a := range t.Attr {
				if a.Name.Space == "xmlns" || a.Name.Local == "xmlns" {
					spaces = append(spaces, a.Value)
				}
			}
			if !slices.Contains(spaces, t.Name.Space) {
				return nil, bad("the prefix %s of <%s:%s> is not declared", t.Name.Space, t.Name.Space, t.Name.Local)
			}
		case xml.EndElement:
			depth--
		case xml.CharData:
			if depth == 0 && strings.TrimSpace(string(t)) != "" {
				return nil, bad("%s stands outside of an element", quote(strings.TrimSpace(string(t))))
			}
		case xml.Directive, xml.ProcInst:
			return nil, bad("<! and <? are not allowed in it")
		}
	}
	if len(names) == 0 {
		return nil, bad("there is no element in it")
	}
	return names, nil
}
