package spec

import (
	"slices"
	"strings"
	"unicode"

	"vmctl/pkg/fault"
)

const (
	imageLength = 1024
	attrLength  = 256
)

// ParseImage reads the value of the image key:
//
//	images/example, ../other#web, .#web    a directory with a flake, and what to build of it
//	github:owner/repo#web, git+ssh://…     a flake elsewhere
//	./disk.qcow2, disk.raw.zst, disk.vmdk  a disk image file
//	https://example.org/disk.qcow2         one that is downloaded
//	debian:12                              a publisher's cloud image
//
// A word without a scheme is always a path, never a name in nix's registry. The
// result is safe as an argument after --: no leading -, no white space, nothing
// that a shell or nix would expand.
func ParseImage(s string) (Image, error) {
	bad := func(format string, args ...any) *fault.Error {
		return fault.New(fault.Usage, "%s cannot be an image: "+format, append([]any{quote(s)}, args...)...).
			WithHint("name a directory with a flake (images/example), a flake (github:owner/repo#name), a file (./disk.qcow2), " +
				"a URL (https://…) or a known image (debian:12)")
	}
	switch {
	case s == "":
		return Image{}, bad("it is empty")
	case len(s) > imageLength:
		return Image{}, bad("it is longer than %d bytes", imageLength)
	case s[0] == '-':
		return Image{}, bad("it begins with -")
	case s[0] == '#':
		return Image{}, bad("it names no flake before the #").WithHint("write \".%s\" for the flake in the project's own directory", s)
	case s[0] == '~':
		return Image{}, bad("~ is not expanded").WithHint("write the whole path")
	case strings.Contains(s, "${") || s[0] == '$':
		return Image{}, bad("variables are not expanded").WithHint("write the whole path")
	}
	ref, attr, hasAttr := strings.Cut(s, "#")
	if r, ok := firstRune(ref, notRefRune); ok {
		return Image{}, bad("it contains %s", nameOf(r))
	}
	image := Image{Kind: ImageFlake, Ref: ref, Attr: attr}
	scheme, rest, hasScheme := strings.Cut(ref, ":")
	switch {
	case hasScheme && (scheme == "http" || scheme == "https"):
		image.Kind = ImageURL
		if problem := urlProblem(ref); problem != "" {
			return Image{}, bad("%s", problem)
		}
	case hasScheme && slices.Contains(Publishers(), scheme):
		image.Kind = ImageKnown
		if !validVersion(rest) {
			return Image{}, bad("%s is not a version", quote(rest)).WithHint("vmctl image list --known shows the names")
		}
	case hasScheme && !slices.Contains(flakeSchemes(), scheme):
		words := append(flakeSchemes(), Publishers()...)
		err := bad("%s is not a kind of flake reference vmctl knows (%s), nor a publisher of images",
			quote(scheme+":"), strings.Join(flakeSchemes(), ", "))
		if scheme == "nixos" {
			err = err.WithHint("NixOS publishes no disk images: let nix build one, image: images/NAME")
		} else if near := Nearest(scheme, words); near != "" {
			err = err.WithHint("did you mean %s:%s?", near, rest)
		}
		return Image{}, err
	case hasScheme && (strings.Trim(rest, "/") == "" || strings.HasPrefix(strings.TrimLeft(rest, "/"), "-")):
		return Image{}, bad("there is nothing that can be fetched after %s", quote(scheme+":"))
	case !hasScheme:
		kind, problem := pathKind(ref)
		if problem != "" {
			return Image{}, bad("%s", problem)
		}
		image.Kind = kind
		if trimmed := strings.TrimRight(ref, "/"); trimmed != "" {
			image.Ref = trimmed
		}
	}
	switch {
	case !hasAttr:
	case image.Kind == ImageFile:
		return Image{}, bad("a disk image file has nothing after #")
	case image.Kind != ImageFlake:
		return Image{}, bad("only a flake has something to choose after #")
	case attr == "":
		return Image{}, bad("nothing comes after #").WithHint("leave the # out, or name what to build after it")
	case !validAttr(attr):
		return Image{}, bad("%s is not an attribute: it is names joined by dots, of letters, digits, _, - and '", quote(attr))
	}
	return image, nil
}

// flakeSchemes are those that nix fetches over a channel it can trust.
func flakeSchemes() []string {
	return []string{
		"github", "gitlab", "sourcehut", "git+https", "git+ssh", "git+file", "hg+https", "hg+ssh",
		"tarball+https", "path", "flake",
	}
}

// pathKind tells a disk image file from a flake's directory, by its suffix alone:
// this package looks at no file.
func pathKind(path string) (ImageKind, string) {
	if strings.HasSuffix(path, "/") {
		return ImageFlake, refProblem(path)
	}
	lower := strings.ToLower(path)
	bare := lower
	for _, packed := range packings() {
		if cut, ok := strings.CutSuffix(lower, packed); ok {
			bare = cut
			break
		}
	}
	for _, suffix := range diskSuffixes() {
		if strings.HasSuffix(bare, suffix) {
			return ImageFile, refProblem(path)
		}
	}
	switch {
	case strings.HasSuffix(lower, ".qed"):
		return "", "this disk format is not supported: convert it with qemu-img convert -f qed -O qcow2"
	case strings.HasSuffix(bare, ".iso"):
		return "", "a CD image is not a bootable disk"
	case strings.HasSuffix(lower, ".ova"), strings.HasSuffix(bare, ".tar"), strings.HasSuffix(lower, ".tgz"), strings.HasSuffix(lower, ".zip"):
		return "", "it is an archive: unpack it first, and name the disk image in it"
	}
	return ImageFlake, refProblem(path)
}

// diskSuffixes are how disk images are called, and packings what may follow. What is in
// a file decides what it is; a name that says otherwise is refused then.
func diskSuffixes() []string {
	return []string{".qcow2", ".img", ".raw", ".vmdk", ".vdi", ".vhd", ".vpc", ".vhdx"}
}

func packings() []string { return []string{".gz", ".xz", ".zst", ".bz2"} }

// refProblem refuses in paths what only URLs may hold: nix reads a ? as the
// beginning of parameters and % as an escape.
func refProblem(path string) string {
	if r, ok := firstRune(path, func(r rune) bool { return strings.ContainsRune("?%&[]", r) }); ok {
		return "a path contains " + nameOf(r)
	}
	return ""
}

// notRefRune is whatever has no business in a flake reference or a path: white
// space, control and invisible characters, and those special to shells or to nix.
func notRefRune(r rune) bool {
	return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) && !strings.ContainsRune("_./+,=@~-:?&%[]", r) ||
		r == unicode.ReplacementChar
}

func validAttr(attr string) bool {
	if len(attr) > attrLength {
		return false
	}
	for attr != "" {
		var name string
		if strings.HasPrefix(attr, `"`) {
			inside, after, closed := strings.Cut(attr[1:], `"`)
			if !closed || inside == "" || strings.IndexFunc(inside, notQuotedAttrRune) >= 0 {
				return false
			}
			attr = after
		} else {
			end := strings.IndexByte(attr+".", '.')
			name, attr = attr[:end], attr[end:]
			if name == "" || name[0] == '-' || strings.IndexFunc(name, notAttrRune) >= 0 {
				return false
			}
		}
		if attr == "" {
			return true
		}
		if attr[0] != '.' {
			return false
		}
		attr = attr[1:]
	}
	return false
}

func notAttrRune(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-' && r != '\''
}

func notQuotedAttrRune(r rune) bool {
	return notAttrRune(r) && !strings.ContainsRune(".+:@", r)
}

func firstRune(s string, match func(rune) bool) (rune, bool) {
	for _, r := range s {
		if match(r) {
			return r, true
		}
	}
	return 0, false
}
