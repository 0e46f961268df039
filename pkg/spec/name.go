package spec

import (
	"path"
	"strings"

	"vmctl/pkg/fault"
)

// NameLength is the longest name a machine may have: a name is also a file name,
// a libvirt domain's name and a host name, and host names end at 63.
const NameLength = 63

// CheckName says why name cannot be a machine's name, or nil. libvirt itself takes
// names such as "-rf", " " and "$(id)"; this is deliberately narrower, because a
// name becomes a file name, a host name and an argument.
func CheckName(name string) error {
	if base := strings.TrimSuffix(path.Base(name), ".yaml"); strings.HasSuffix(name, ".yaml") && validName(base) {
		return fault.New(fault.Usage, "%s cannot be a machine's name: give the name alone, not its file", quote(name)).
			WithHint("did you mean %s?", base)
	}
	return checkName("a machine", name, NameLength)
}

// checkName is the one rule for names: of machines, and of what a definition names in
// mappings, such as volumes. what is the thing with its article; most is how many
// characters the name may have.
func checkName(what, name string, most int) error {
	bad := func(why string) *fault.Error {
		return fault.New(fault.Usage, "%s cannot be %s's name: %s", quote(name), what, why).
			WithHint("use small letters, digits and -, beginning with a letter or digit, such as web-1")
	}
	switch {
	case name == "":
		return fault.New(fault.Usage, "%s's name cannot be empty", what)
	case len(name) > most && strings.IndexFunc(name, notNameRune) < 0:
		return fault.New(fault.Usage, "%s cannot be %s's name: it has %d characters, and %d are the most", quote(name), what, len(name), most)
	case name[0] == '-':
		return bad("it begins with -")
	}
	if lower := strings.ToLower(name); lower != name && validName(lower) {
		return bad("it has capital letters").WithHint("did you mean %s?", lower)
	}
	if i := strings.IndexFunc(name, notNameRune); i >= 0 {
		for _, r := range name[i:] {
			return bad("it contains " + nameOf(r))
		}
	}
	return nil
}

func validName(s string) bool {
	return s != "" && len(s) <= NameLength && s[0] != '-' && strings.IndexFunc(s, notNameRune) < 0
}

func notNameRune(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-'
}

func nameOf(r rune) string {
	switch r {
	case ' ':
		return "a space"
	case '\n':
		return "a line break"
	case '\t':
		return "a tab"
	default:
		return quote(string(r))
	}
}
