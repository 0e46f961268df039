package domainxml

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"

	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// merge puts the definition's own XML into the domain's. It works on the text, because
// a parser that knows libvirt's elements drops those that it does not know.
func merge(domain string, fragments []spec.Fragment) (string, error) {
	if len(fragments) == 0 {
		return domain, nil
	}
	own, disks := identity(domain, -1)
	for i, f := range fragments {
		bad := func(format string, args ...any) error {
			return fault.New(fault.Invalid, "xml[%d] cannot be added: "+format, append([]any{i}, args...)...)
		}
		offset, missing, err := find(domain, f.Steps())
		if err != nil {
			return "", bad("%w", err)
		}
		text := strings.TrimSpace(f.Add)
		for _, step := range missing {
			if step.Index > 1 {
				return "", bad("there is no %s[%d] in the domain", step.Name, step.Index)
			}
		}
		for j := len(missing) - 1; j >= 0; j-- {
			text = fmt.Sprintf("<%[1]s>\n  %[2]s\n</%[1]s>", missing[j].Name, strings.ReplaceAll(text, "\n", "\n  "))
		}
		domain = insert(domain, offset, text)
		if now, _ := identity(domain, disks); now != own {
			return "", bad("it would change the domain's name, UUID, metadata or disks")
		}
	}
	return domain, nil
}

// find gives where the innermost element of a place that is there ends, and the steps
// that are missing below it.
func find(domain string, steps []spec.Step) (offset int64, missing []spec.Step, err error) {
	decoder := xml.NewDecoder(strings.NewReader(domain))
	// matched is how many steps the open elements have matched, depth how many are open
	// below <domain>; seen counts elements of the next step's name.
	matched, depth, seen := 0, -1, 0
	for {
		at := decoder.InputOffset()
		token, err := decoder.RawToken()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = fault.New(fault.Invalid, "the domain's XML has no end")
			}
			return 0, nil, err
		}
		switch t := token.(type) {
		case xml.StartElement:
			depth++
			if depth != matched+1 || matched == len(steps) || t.Name.Space != "" || t.Name.Local != steps[matched].Name {
				continue
			}
			if seen++; seen == max(steps[matched].Index, 1) {
				matched, seen = matched+1, 0
			}
		case xml.EndElement:
			if depth == matched {
				return at, steps[matched:], nil
			}
			depth--
		}
	}
}

// insert puts text before the end tag at an offset, on lines of its own.
func insert(domain string, offset int64, text string) string {
	head, tail := domain[:offset], domain[offset:]
	indent := head[strings.LastIndexByte(head, '\n')+1:]
	if strings.TrimSpace(indent) != "" {
		return head + "\n" + text + "\n" + tail
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = indent + "  " + strings.TrimRight(line, " \t\r")
	}
	return head[:len(head)-len(indent)] + strings.Join(lines, "\n") + "\n" + indent + tail
}

// identity is what makes the domain vmctl's: its name, UUID and metadata, and the
// disks that vmctl gave it, which come first. Below zero counts all of them.
func identity(domain string, disks int) (parts string, own int) {
	var d struct {
		Name     []string `xml:"name"`
		UUID     []string `xml:"uuid"`
		Metadata []inner  `xml:"metadata"`
		Disks    []inner  `xml:"devices>disk"`
	}
	if err := xml.Unmarshal([]byte(domain), &d); err != nil {
		return err.Error(), 0
	}
	if disks < 0 || disks > len(d.Disks) {
		disks = len(d.Disks)
	}
	return fmt.Sprint(d.Name, d.UUID, d.Metadata, d.Disks[:disks]), disks
}

type inner struct {
	XML string `xml:",innerxml"`
}
