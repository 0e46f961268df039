package cloudinit

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/textproto"
	"strings"
	"unicode/utf8"

	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

const (
	// MaxUserData bounds a file of the person's own.
	MaxUserData = 1 << 20
	// checked is the largest cloud-config whose YAML is checked here.
	checked = spec.MaxBytes
)

// kinds tell what user-data is by how it begins, as cloud-init does.
func kinds() []struct{ prefix, contentType string } {
	return []struct{ prefix, contentType string }{
		{"#cloud-config-archive", "text/cloud-config-archive"},
		{"#cloud-config", "text/cloud-config"},
		{"#cloud-config-jsonp", "text/cloud-config-jsonp"},
		{"#!", "text/x-shellscript"},
		{"#include-once", "text/x-include-once-url"},
		{"#include", "text/x-include-url"},
		{"#cloud-boothook", "text/cloud-boothook"},
		{"#part-handler", "text/part-handler"},
		{"## template: jinja", "text/jinja2"},
	}
}

func contentType(data []byte) string {
	found, length := "", 0
	for _, k := range kinds() {
		if len(k.prefix) > length && bytes.HasPrefix(data, []byte(k.prefix)) {
			found, length = k.contentType, len(k.prefix)
		}
	}
	return found
}

// isMIME says that user-data is a message of parts already.
func isMIME(data []byte) bool {
	line, _, _ := bytes.Cut(data, []byte("\n"))
	key, _, ok := strings.Cut(strings.ToLower(string(line)), ":")
	return ok && (key == "content-type" || key == "mime-version")
}

// CheckUserData says what is wrong with a file of user-data: cloud-init itself passes
// over what it does not know, and nobody hears of it.
func CheckUserData(file string, data []byte) error {
	bad := func(format string, args ...any) *fault.Error {
		return fault.New(fault.Invalid, "%s cannot be user-data: "+format, append([]any{file}, args...)...)
	}
	switch {
	case len(data) > MaxUserData:
		return bad("it is larger than %s", spec.Size(MaxUserData))
	case len(bytes.TrimSpace(data)) == 0:
		return bad("it is empty").WithHint("leave user-data out")
	case bytes.HasPrefix(data, []byte{0x1f, 0x8b}):
		return bad("it is packed with gzip").WithHint("unpack it")
	case !utf8.Valid(data) || bytes.IndexByte(data, 0) >= 0:
		return bad("it is not text")
	}
	if isMIME(data) {
		header, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(data))).ReadMIMEHeader()
		if err != nil || !strings.HasPrefix(strings.ToLower(header.Get("Content-Type")), "multipart/") {
			return bad("it begins as a MIME message and is none of several parts")
		}
		return nil
	}
	kind := contentType(data)
	if kind == "" {
		line, _, _ := strings.Cut(string(data), "\n")
		return &spec.Error{Problems: []spec.Problem{{
			File: file, Line: 1, Column: 1, Width: 1, Source: line,
			Msg:  "cloud-init would pass over this: the first line says what user-data is, and this is nothing it knows",
			Hint: "begin it with #cloud-config, or with #! for a script",
		}}}
	}
	if kind == "text/cloud-config" && len(data) <= checked {
		return spec.CheckYAML(file, "a cloud-config", data)
	}
	return nil
}

// CheckNetworkConfig says what is wrong with a file of network configuration.
func CheckNetworkConfig(file string, data []byte) error {
	switch {
	case len(data) > checked:
		return fault.New(fault.Invalid, "%s cannot be a network configuration: it is larger than %s", file, spec.Size(checked))
	case len(bytes.TrimSpace(data)) == 0:
		return fault.New(fault.Invalid, "%s cannot be a network configuration: it is empty", file).WithHint("leave network-config out")
	}
	if err := spec.CheckYAML(file, "a network configuration", data); err != nil {
		return err
	}
	for line := range bytes.Lines(data) {
		if key, _, ok := strings.Cut(strings.TrimSpace(string(line)), ":"); ok && (key == "version" || key == `"version"` || strings.Contains(key, "version")) {
			return nil
		}
	}
	return fault.New(fault.Invalid, "%s cannot be a network configuration: it does not say version: 1 or version: 2", file)
}

// part is one part of a message.
type part struct {
	contentType string
	body        []byte
}

// multipart joins parts as cloud-init takes them. The boundary follows from what is in
// them, so that the same parts make the same bytes and no part has it.
func multipart(parts ...part) ([]byte, error) {
	sum := sha256.New()
	for _, p := range parts {
		_, _ = sum.Write(p.body)
	}
	boundary := "vmctl-" + hex.EncodeToString(sum.Sum(nil)[:16])
	var b bytes.Buffer
	fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=%q\nMIME-Version: 1.0\n", boundary)
	for _, p := range parts {
		fmt.Fprintf(&b, "\n--%s\n", boundary)
		if p.contentType == "" {
			b.Write(p.body) // a message of its own, with its header
			continue
		}
		fmt.Fprintf(&b, "Content-Type: %s; charset=\"utf-8\"\nMIME-Version: 1.0\nContent-Transfer-Encoding: base64\n\n", p.contentType)
		text := base64.StdEncoding.EncodeToString(p.body)
		for len(text) > 76 {
			b.WriteString(text[:76] + "\n")
			text = text[76:]
		}
		b.WriteString(text + "\n")
	}
	fmt.Fprintf(&b, "\n--%s--\n", boundary)
	return b.Bytes(), nil
}
