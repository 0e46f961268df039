// Package checksum reads the files in which publishers say what their images must be:
// SHA256SUMS as sha256sum writes it, CHECKSUM in the BSD form, signed or not, and files
// with one digest and nothing else. It fetches nothing, checks no signature, and decides
// nothing about what it reads.
package checksum

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"strings"

	"vmctl/pkg/ansi"
	"vmctl/pkg/fault"
)

// Algorithm is how a digest is computed.
type Algorithm string

// The algorithms that are believed. Anybody can forge MD5 and SHA-1.
const (
	SHA256 Algorithm = "sha256"
	SHA512 Algorithm = "sha512"
)

// New makes a hash.
func (a Algorithm) New() hash.Hash {
	if a == SHA512 {
		return sha512.New()
	}
	return sha256.New()
}

// Digest is what a file must be.
type Digest struct {
	Algorithm Algorithm `json:"algorithm"`
	// Hex is in lower-case digits.
	Hex string `json:"hex"`
}

// String is the digest in characters fit for a file name: "sha256-<hex>".
func (d Digest) String() string { return string(d.Algorithm) + "-" + d.Hex }

// Valid says that the digest is one.
func (d Digest) Valid() bool {
	return digestOf(d.Hex) == d && d.Hex != ""
}

// digestOf tells by its length which algorithm hexadecimal digits are of; the zero Digest
// is none that is believed.
func digestOf(text string) Digest {
	raw, err := hex.DecodeString(text)
	if err != nil {
		return Digest{}
	}
	switch len(raw) {
	case sha256.Size:
		return Digest{SHA256, hex.EncodeToString(raw)}
	case sha512.Size:
		return Digest{SHA512, hex.EncodeToString(raw)}
	}
	return Digest{}
}

// MaxBytes is the largest file of checksums that is read.
const MaxBytes = 1 << 20

// most is how many lines are looked at.
const most = 20000

// Find reads the digest of the file with that name from the text of a file of checksums,
// the strongest if there are several kinds. Two that contradict each other are an error,
// as is none.
func Find(text []byte, name string) (Digest, error) {
	found := map[Algorithm]Digest{}
	var alone []Digest
	weak, entries := false, 0
	bad := func(format string, args ...any) *fault.Error { return fault.New(fault.Build, format, args...) }
	if len(text) > MaxBytes {
		return Digest{}, bad("the file of checksums has more than %d bytes, which cannot be right", MaxBytes)
	}
	lines := strings.Split(body(string(text)), "\n")
	if len(lines) > most {
		return Digest{}, bad("the file of checksums has more than %d lines, which cannot be right", most)
	}
	for _, line := range lines {
		file, digits, ok := parse(strings.TrimRight(line, " \t\r"))
		if !ok {
			continue
		}
		entries++
		d := digestOf(digits)
		switch {
		case file != name && file != "":
			continue
		case d.Hex == "":
			weak = true
		case file == "":
			alone = append(alone, d)
		default:
			if other, twice := found[d.Algorithm]; twice && other != d {
				return Digest{}, bad("the file of checksums has two different ones for %s", ansi.Plain(name))
			}
			found[d.Algorithm] = d
		}
	}
	// A digest without a name is of the only file that could be meant.
	if len(found) == 0 && len(alone) == 1 && entries == 1 {
		return alone[0], nil
	}
	for _, a := range []Algorithm{SHA512, SHA256} {
		if d, ok := found[a]; ok {
			return d, nil
		}
	}
	switch {
	case weak:
		return Digest{}, bad("the file of checksums has only MD5 or SHA-1 for %s, which anybody can forge", ansi.Plain(name)).
			WithHint("look for a SHA256SUMS, or write sha256: with a checksum that you got elsewhere")
	case entries == 0:
		return Digest{}, bad("the file of checksums has no checksums in it").WithHint("look at it: is its address right?")
	}
	return Digest{}, bad("the file of checksums says nothing of %s", ansi.Plain(name)).
		WithHint("look at it: the publisher may have given the image another name")
}

// body is what was signed, where a text is signed (RFC 9580, section 7), without the
// dashes that escape lines.
func body(text string) string {
	const begin, end = "-----BEGIN PGP SIGNED MESSAGE-----", "-----BEGIN PGP SIGNATURE-----"
	text = strings.ReplaceAll(text, "\r\n", "\n")
	at := strings.Index(text, begin)
	if at < 0 {
		return text
	}
	text = text[at+len(begin):]
	// Headers such as "Hash: SHA256" end with an empty line.
	if _, after, ok := strings.Cut(text, "\n\n"); ok {
		text = after
	}
	if before, _, ok := strings.Cut(text, end); ok {
		text = before
	}
	return strings.ReplaceAll("\n"+text, "\n- ", "\n")
}

// parse reads one line; the file is empty where a digest stands alone.
func parse(line string) (file, digits string, ok bool) {
	if line == "" || line[0] == '#' || len(line) > 4096 {
		return "", "", false
	}
	// SHA256 (disk.qcow2) = 0f…
	if kind, rest, isBSD := strings.Cut(line, " ("); isBSD && strings.Trim(kind, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-/") == "" {
		at := strings.LastIndex(rest, ") = ")
		if at < 0 {
			return "", "", false
		}
		file, digits = rest[:at], rest[at+len(") = "):]
		d := digestOf(digits)
		if d.Hex != "" && !strings.EqualFold(strings.ReplaceAll(kind, "-", ""), string(d.Algorithm)) {
			// Such as SHA512/256: digits of a length that says something else.
			digits = strings.Repeat("0", 40)
		}
		return clean(file), digits, isHex(digits)
	}
	// 0f…  disk.qcow2, or with * before a name, or the digits alone
	escaped := strings.HasPrefix(line, `\`)
	line = strings.TrimPrefix(line, `\`)
	at := strings.IndexAny(line, " \t")
	if at < 0 {
		return "", line, isHex(line)
	}
	digits, rest := line[:at], line[at:]
	if !isHex(digits) {
		return "", "", false
	}
	file = strings.TrimPrefix(strings.TrimLeft(rest, " \t"), "*")
	if escaped || file == "" {
		return "", "", false // names with line breaks are nobody's image
	}
	return clean(file), digits, true
}

func clean(file string) string { return strings.TrimPrefix(file, "./") }

// isHex says that it could be the digits of some digest.
func isHex(s string) bool {
	switch len(s) {
	case 32, 40, 56, 64, 96, 128:
		_, err := hex.DecodeString(s)
		return err == nil
	}
	return false
}

// Of is the digest of what a hash has seen.
func Of(a Algorithm, h hash.Hash) Digest {
	return Digest{a, fmt.Sprintf("%x", h.Sum(nil))}
}
