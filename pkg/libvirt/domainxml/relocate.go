package domainxml

import (
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"

	"vmctl/pkg/fault"
)

// Relocation is how a definition changes on its way to another host.
type Relocation struct {
	// Paths are files, and what they are called there.
	Paths map[string]string
	// Boots says that the guest boots there, else it arrives while it runs.
	Boots bool
	// Drop are elements that stay behind, as they are written: "prefix:name".
	Drop []string
}

// Relocate rewrites a domain's XML, as a host has it, for another host. It works on the
// text: what is not known here comes through as it is.
func Relocate(domain string, r Relocation) (string, error) {
	w := rewriter{Relocation: r, text: domain, decoder: xml.NewDecoder(strings.NewReader(domain))}
	for {
		from := w.decoder.InputOffset()
		token, err := w.decoder.RawToken()
		if errors.Is(err, io.EOF) {
			return w.out.String(), nil
		}
		if err != nil {
			return "", fault.New(fault.Other, "the host's domain XML cannot be read: %w", err)
		}
		if _, end := token.(xml.EndElement); end && len(w.open) == 0 {
			return "", fault.New(fault.Other, "the host's domain XML cannot be read: it ends more than it begins")
		}
		w.token(token, domain[from:w.decoder.InputOffset()])
	}
}

type rewriter struct {
	Relocation
	text    string
	decoder *xml.Decoder
	out     strings.Builder
	// open are the names of the open elements; dropped is how many of them are open when
	// what is read is left out, 0 when it is not.
	open    []string
	dropped int
	// moved is how many are open when a disk's source was given another path.
	moved int
	// firmware says that libvirt chooses the firmware's build by itself.
	firmware bool
}

func (w *rewriter) token(token xml.Token, raw string) {
	switch t := token.(type) {
	case xml.StartElement:
		w.start(t, raw)
	case xml.EndElement:
		depth := len(w.open)
		w.open = w.open[:depth-1]
		if w.dropped == 0 {
			w.out.WriteString(raw)
		}
		if w.dropped == depth {
			w.dropped = 0
		}
		if w.moved == depth {
			w.moved = 0
		}
	case xml.CharData:
		if to, ok := w.Paths[strings.TrimSpace(string(t))]; ok {
			raw = escaped(to)
		}
		if w.dropped == 0 {
			w.out.WriteString(raw)
		}
	default:
		if w.dropped == 0 {
			w.out.WriteString(raw)
		}
	}
}

func (w *rewriter) start(t xml.StartElement, raw string) {
	name := tag(t.Name)
	w.open = append(w.open, name)
	if w.dropped > 0 {
		return
	}
	if w.leaves(name) {
		w.dropped = len(w.open)
		return
	}
	changed := false
	for i, a := range t.Attr {
		to, ok := w.attribute(name, tag(a.Name), a.Value)
		if !ok {
			continue
		}
		t.Attr[i].Value, changed = to, true
		if name == "source" {
			w.moved = len(w.open)
		}
	}
	if name == "os" && slices.ContainsFunc(t.Attr, func(a xml.Attr) bool { return a.Name.Local == "firmware" }) {
		w.firmware = true
	}
	if w.Boots && w.within("os", "nvram") && w.firmware {
		// The template is the first host's, as the loader.
		kept := slices.DeleteFunc(slices.Clone(t.Attr), func(a xml.Attr) bool { return strings.HasPrefix(a.Name.Local, "template") })
		changed = changed || len(kept) != len(t.Attr)
		t.Attr = kept
	}
	if !changed {
		w.out.WriteString(raw)
		return
	}
	w.out.WriteString("<" + name)
	for _, a := range t.Attr {
		w.out.WriteString(" " + tag(a.Name) + "='" + escaped(a.Value) + "'")
	}
	if strings.HasSuffix(raw, "/>") {
		w.out.WriteString("/")
	}
	w.out.WriteString(">")
}

// leaves says that an element stays behind.
func (w *rewriter) leaves(name string) bool {
	switch {
	case slices.Contains(w.Drop, name):
		return true
	case name == "seclabel" && w.moved > 0:
		// It kept the owner of a file that is another one there.
		return true
	case w.Boots && w.firmware && w.within("os", "loader"):
		return true
	}
	return false
}

// machineVersion is a board with the version of it that a host chose for its name.
var machineVersion = regexp.MustCompile(`^(?:pc-)?(q35|virt)-[0-9.]+$`)

// attribute gives an attribute's value on the other host, and whether it differs.
func (w *rewriter) attribute(element, name, value string) (string, bool) {
	if to, ok := w.Paths[value]; ok {
		return to, to != value
	}
	switch {
	case w.Boots && element == "type" && name == "machine" && w.within("os", "type"):
		// A guest that boots takes the newest board, as when it is defined.
		if m := machineVersion.FindStringSubmatch(value); m != nil {
			return m[1], true
		}
	case !w.Boots && element == "log" && name == "append" && value == "off":
		// What was printed before goes with the guest.
		return "on", true
	}
	return "", false
}

// within says that the innermost open elements are those.
func (w *rewriter) within(path ...string) bool {
	n := len(w.open) - len(path)
	return n >= 0 && slices.Equal(w.open[n:], path)
}

func tag(n xml.Name) string {
	if n.Space == "" {
		return n.Local
	}
	return n.Space + ":" + n.Local
}

func escaped(text string) string {
	var out strings.Builder
	_ = xml.EscapeText(&out, []byte(text)) // a Builder takes all
	return out.String()
}
