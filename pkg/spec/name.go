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
	bad := func(why string) *fault.Error {
		return fault.New(fault.Usage, "%s cannot be a machine's name: %s", quote(name), why).
			WithHint("use small letters, digits and -, beginning with a letter or digit, such as web-1")
	}
	switch base := strings.TrimSuffix(path.Base(name), ".yaml"); {
	case name == "":
		return fault.New(fault.Usage, "a machine's name cannot be empty")
	case strings.HasSuffix(name, ".yaml") && validName(base):
		return bad("give the name alone, not its file").WithHint("did you mean %s?", base)
	case len(name) > NameLength && strings.IndexFunc(name, notNameRune) < 0:
		return fault.New(fault.Usage, "%s cannot be a machine's name: it has %d characters, and %d are the most", quote(name), len(name), NameLength)
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
