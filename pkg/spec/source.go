package spec

import (
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"path"
	"strings"

	"github.com/invopop/jsonschema"

	"vmctl/pkg/fault"
)

const (
	sha256Length   = 80
	sha256Pattern  = `^(sha256[:-])?([0-9A-Fa-f]{64}|[A-Za-z0-9+/]{43}=)$`
	checksumsLimit = 1024
	versionLength  = 40
)

// Publishers are the words before the colon of known images; pkg/image holds what
// each has.
func Publishers() []string {
	return []string{"debian", "ubuntu", "fedora", "alpine", "arch", "rocky", "almalinux", "centos", "opensuse", "freebsd"}
}

func validVersion(s string) bool {
	return s != "" && len(s) <= versionLength && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789.-") == "" && s[0] != '-' && s[0] != '.'
}

// urlProblem says why a URL cannot be one to download from, or nothing.
func urlProblem(s string) string {
	u, err := url.Parse(s)
	switch {
	case err != nil, u.Opaque != "":
		return "it is not a URL"
	case u.Scheme != "https" && u.Scheme != "http":
		return "only https can be fetched"
	case u.User != nil:
		return "a URL with a user's name or password in it would be shown and kept; it must work without"
	case u.Hostname() == "", strings.HasPrefix(u.Hostname(), "-"):
		return "the URL names no server"
	case u.Path == "" || strings.HasSuffix(u.Path, "/") || path.Base(u.Path) == "." || path.Base(u.Path) == "..":
		return "the URL names no file"
	}
	return ""
}

// ParseSHA256 reads a SHA-256 digest as it is written by sha256sum (64 hexadecimal digits)
// or by nix and browsers (sha256-BASE64), and gives lower-case hexadecimal digits.
func ParseSHA256(s string) (string, error) {
	bad := func(why string) error {
		return fault.New(fault.Usage, "%s is not a SHA-256 checksum: %s", quote(s), why).
			WithHint("write the 64 digits that sha256sum prints, or sha256-BASE64 as nix does")
	}
	text := strings.TrimPrefix(strings.TrimPrefix(s, "sha256:"), "sha256-")
	var raw []byte
	var err error
	if len(text) == 2*32 {
		raw, err = hex.DecodeString(text)
	} else {
		raw, err = base64.StdEncoding.Strict().DecodeString(text)
	}
	switch {
	case strings.HasPrefix(s, "sha512") || len(text) == 2*64:
		return "", bad("it looks like a SHA-512 one")
	case len(text) == 32 || len(text) == 40:
		return "", bad("it looks like an MD5 or SHA-1 one, which anybody can forge")
	case err != nil:
		return "", bad("it is neither hexadecimal digits nor base64")
	case len(raw) != 32:
		return "", bad("it has the wrong length")
	}
	return hex.EncodeToString(raw), nil
}

func parseChecksums(s string) (string, error) {
	problem := urlProblem(s)
	u, err := url.Parse(s)
	r, strange := firstRune(s, notRefRune)
	switch {
	case len(s) > checksumsLimit:
		problem = "it is too long"
	case strange:
		problem = "it contains " + nameOf(r)
	case err == nil && u.Scheme == "http":
		problem = "over http anybody on the way could change it"
	case err == nil && u.Fragment != "":
		problem = "it has something after #"
	}
	if problem != "" {
		return "", fault.New(fault.Usage, "%s cannot be a file of checksums: %s", quote(s), problem).
			WithHint("write the https:// URL of the publisher's SHA256SUMS")
	}
	return s, nil
}

func sha256Field() field {
	return field{
		Field: Field{
			Key: "sha256", Type: "checksum", Default: "none", Example: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
			Doc: "What the image file must be: its SHA-256 checksum, as sha256sum prints it or as sha256-BASE64. " +
				"It is that of the file as it is downloaded, still packed. An image from the web needs this or checksums; for a file it is optional.",
		},
		words:  []string{"hash", "digest", "checksum", "sha", "sha512"},
		schema: text(sha256Pattern, sha256Length), read: readSHA256,
	}
}

func checksumsField() field {
	return field{
		Field: Field{
			Key: "checksums", Type: "https URL", Default: "none", Example: "https://cloud-images.ubuntu.com/releases/24.04/release/SHA256SUMS",
			Doc: "The publisher's file of checksums (SHA256SUMS, SHA512SUMS, CHECKSUM, NAME.sha512), instead of sha256. It is asked once; " +
				"--refresh asks again, and takes a newer image when there is one.",
		},
		words:  []string{"sha256sums", "sha512sums", "sums", "checksum-url"},
		schema: text(`^https://[^\s#]+$`, checksumsLimit), read: readChecksums,
	}
}

// sourceRules say in the schema what imageTogether checks.
func sourceRules() []*jsonschema.Schema {
	image := func(pattern string) *jsonschema.Schema {
		s := property("image", &jsonschema.Schema{Type: "string", Pattern: pattern})
		s.Required = []string{"image"}
		return s
	}
	one := func(key string) *jsonschema.Schema { return &jsonschema.Schema{Required: []string{key}} }
	return []*jsonschema.Schema{
		{Not: &jsonschema.Schema{Required: []string{"sha256", "checksums"}}},
		{If: one("checksums"), Then: image("^https://")},
		{If: image("^https://"), Then: &jsonschema.Schema{AnyOf: []*jsonschema.Schema{one("sha256"), one("checksums")}}},
		{If: image("^http://"), Then: one("sha256")},
		needs("sha256", "image"),
	}
}

func readSHA256(p *parser, v value) {
	if s, ok := p.text1(v, "a SHA-256 checksum", "write the 64 digits that sha256sum prints"); ok {
		keep(p, v, &p.m.Image.SHA256, s, ParseSHA256)
	}
}

func readChecksums(p *parser, v value) {
	if s, ok := p.text1(v, "a URL", "write the https:// URL of the publisher's SHA256SUMS"); ok {
		keep(p, v, &p.m.Image.Checksums, s, parseChecksums)
	}
}

// imageTogether checks the keys that say what an image must be against what it
// is, as far as they are right by themselves.
func (p *parser) imageTogether() {
	if p.wrong["image"] || p.wrong["sha256"] || p.wrong["checksums"] {
		return
	}
	image := p.m.Image
	problem := func(key, msg, hint string) { p.add(p.keys[key], key, msg, hint) }
	switch {
	case image.Kind == ImageFlake && image.SHA256 != "":
		problem("sha256", "an image that nix builds has no checksum to write down", "take it out")
	case image.Kind == ImageFlake && image.Checksums != "":
		problem("checksums", "an image that nix builds has no checksums", "take it out")
	case image.Kind == ImageFile && image.Checksums != "":
		problem("checksums", "only an image from the web has a file of checksums", "write sha256: for a file")
	case image.Kind == ImageKnown && image.Checksums != "":
		problem("checksums", "vmctl knows where the checksums of this image are", "take it out")
	case image.SHA256 != "" && image.Checksums != "":
		problem("checksums", "sha256 says already what the image must be", "keep one of them")
	case image.Kind != ImageURL:
	case image.SHA256 == "" && strings.HasPrefix(image.Ref, "http://"):
		problem("image", "over http anybody on the way could change the image", "write https://, or add sha256: with its checksum")
	case image.SHA256 == "" && image.Checksums == "":
		problem("image", "nothing says what the downloaded image must be",
			"add sha256: with its checksum, or checksums: with the URL of the publisher's SHA256SUMS")
	}
}
