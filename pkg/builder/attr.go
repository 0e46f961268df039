package builder

import (
	"regexp"
	"slices"
	"strings"

	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// configurations is where a flake's machines are, by nix's own convention.
const configurations = "nixosConfigurations"

// defaultName is the configuration an image is built from when nobody says otherwise.
const defaultName = "build-qcow2"

// attrName is what a name in an attribute path may consist of. Everything with a
// meaning to nix between quotes or in a flake's fragment (" \ $ # % ^ ?) is out, so
// that a definition can name an attribute and do nothing else.
var attrName = regexp.MustCompile(`^[A-Za-z0-9_.+@:'-]+$`)

// maxName bounds a name; no real one comes near.
const maxName = 200

func validName(name string) bool { return len(name) <= maxName && attrName.MatchString(name) }

// attrPath is an attribute path, one name per element.
type attrPath []string

// parseAttr splits an attribute path at its dots, those between quotes excepted.
func parseAttr(text string) (attrPath, error) {
	var (
		path   attrPath
		name   strings.Builder
		quoted bool
	)
	for _, r := range text {
		switch {
		case r == '"':
			quoted = !quoted
		case r == '.' && !quoted:
			path = append(path, name.String())
			name.Reset()
		default:
			name.WriteRune(r)
		}
	}
	path = append(path, name.String())
	for _, name := range path {
		if quoted || !validName(name) {
			return nil, fault.New(fault.Invalid, "%q is not the name of a flake's attribute", text).
				WithHint("write names with letters, digits, - and _, joined by dots, such as packages.x86_64-linux.image")
		}
	}
	return path, nil
}

// String quotes every name, so that dots and digits in names mean nothing.
func (p attrPath) String() string {
	var b strings.Builder
	for i, name := range p {
		if i > 0 {
			b.WriteByte('.')
		}
		// Only quote what needs it: nix's own messages then read the same.
		if plainName.MatchString(name) {
			b.WriteString(name)
		} else {
			b.WriteString(`"` + name + `"`)
		}
	}
	return b.String()
}

var plainName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_'-]*$`)

// image is the attribute path of a configuration's disk image.
func image(name string) attrPath {
	return attrPath{configurations, name, "config", "system", "build", "qcow2"}
}

// goal is what a definition asks to be built.
type goal struct {
	// name is a configuration; empty chooses one.
	name string
	// path is an attribute that is written out: it is built as it is.
	path attrPath
}

// parseGoal understands what follows # in a definition:
//
//	web                       the image of nixosConfigurations.web
//	web.images.qemu           its image variant qemu (NixOS 25.05 and later)
//	nixosConfigurations.web   the same as web
//	packages.x86_64-linux.a   anything else with dots: an attribute of the flake, written out
func parseGoal(text string) (goal, error) {
	if text == "" {
		return goal{}, nil
	}
	path, err := parseAttr(text)
	switch {
	case err != nil:
		return goal{}, err
	case len(path) == 1:
		return goal{name: path[0]}, nil
	case path[0] == configurations && len(path) == 2:
		return goal{name: path[1]}, nil
	case path[0] == configurations:
		return goal{name: path[1], path: path}, nil
	case len(path) == 3 && path[1] == "images" && !slices.Contains(outputs(), path[0]):
		return goal{name: path[0], path: attrPath{configurations, path[0], "config", "system", "build", "images", path[2]}}, nil
	}
	return goal{path: path}, nil
}

// Configuration is the name of what an attribute stands for: the configuration's, or the
// last word of a path that leads to none.
func Configuration(attr string) string {
	g, err := parseGoal(attr)
	switch {
	case err != nil:
		return ""
	case g.name != "":
		return g.name
	case len(g.path) > 0:
		return g.path[len(g.path)-1]
	}
	return ""
}

// outputs are names with a meaning of their own at the top of a flake.
func outputs() []string {
	return []string{"packages", "legacyPackages", "checks", "apps", "devShells", "hydraJobs", "lib"}
}

// preferred are the configurations that are taken where nobody names one.
func (r Ref) preferred() []string {
	if r.Machine == "" {
		return []string{defaultName}
	}
	return []string{defaultName, r.Machine}
}

// undecided is the error when none of the configurations is meant for sure.
func undecided(names []string, ref Ref) error {
	if len(names) == 0 {
		return fault.New(fault.NotFound, "%s has no nixosConfigurations to build an image from", ref.subject()).
			WithHint("add nixosConfigurations.%s to its flake.nix, or name the attribute to build: image: %s#ATTRIBUTE",
				ref.machine(), ref.display())
	}
	return fault.New(fault.NotFound, "%s has several nixosConfigurations and none is called %s%s: %s",
		ref.subject(), defaultName, orMachine(ref), list(names)).
		WithHint("name one in the definition: image: %s#%s", ref.display(), names[0])
}

// unusable refuses names that only nix itself could pronounce.
func unusable(name string, ref Ref) error {
	return fault.New(fault.Invalid, "the configuration %q of %s has a name that vmctl cannot use", name, ref.subject()).
		WithHint("rename it with letters, digits, - and _")
}

func orMachine(ref Ref) string {
	if ref.Machine == "" {
		return ""
	}
	return " or " + ref.Machine
}

// missing is the error for a configuration that does not exist, with those that do.
func missing(name string, names []string, ref Ref) error {
	if len(names) == 0 {
		return undecided(nil, ref)
	}
	err := fault.New(fault.NotFound, "%s has no nixosConfigurations.%s; it has %s", ref.subject(), name, list(names))
	if meant := spec.Nearest(name, names); meant != "" {
		return err.WithHint("did you mean %s? write image: %s#%s", meant, ref.display(), meant)
	}
	return err.WithHint("name one of them in the definition: image: %s#%s", ref.display(), names[0])
}

// list joins names, the first twenty.
func list(names []string) string {
	const most = 20
	if len(names) > most {
		return strings.Join(names[:most], ", ") + ", …"
	}
	return strings.Join(names, ", ")
}
