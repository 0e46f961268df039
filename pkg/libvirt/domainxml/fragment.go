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

// merge makes the definition's own changes to the domain's XML. It works on the text, because
// a parser that knows libvirt's elements drops those that it does not know.
func merge(domain string, fragments []spec.Fragment) (string, error) {
	if len(fragments) == 0 {
		return domain, nil
	}
	own, disks := identity(domain, -1)
	for i, f := range fragments {
		changed, err := apply(domain, f)
		if err == nil {
			if now, _ := identity(changed, disks); now != own {
				err = fault.New(fault.Invalid, "it would change the domain's name, UUID, metadata or disks")
			}
		}
		if err != nil {
			return "", fault.New(fault.Invalid, "xml[%d] of the definition, which %s something, cannot be applied: %w", i, f.Does(), err)
		}
		domain = changed
	}
	return domain, nil
}

// apply makes one change.
func apply(domain string, f spec.Fragment) (string, error) {
	found, err := find(domain, f.Steps())
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(f.XML())
	if f.Add == "" {
		if len(found.missing) > 0 {
			return "", fault.New(fault.Invalid, "there is no %s in the domain", f.At)
		}
		return replace(domain, found.start, found.end, text), nil
	}
	for _, step := range found.missing {
		if step.Index > 1 {
			return "", fault.New(fault.Invalid, "there is no %s[%d] in the domain", step.Name, step.Index)
		}
	}
	for j := len(found.missing) - 1; j >= 0; j-- {
		text = fmt.Sprintf("<%[1]s>\n  %[2]s\n</%[1]s>", found.missing[j].Name, strings.ReplaceAll(text, "\n", "\n  "))
	}
	return insert(domain, found.inside, text), nil
}

// located is where the innermost element of a place is that is there.
type located struct {
	// start and end are where it begins and ends, inside where its end tag begins.
	start, inside, end int64
	// missing are the steps that are not there below it.
	missing []spec.Step
}

// find finds the innermost element of a place that is there.
func find(domain string, steps []spec.Step) (l located, err error) {
	decoder := xml.NewDecoder(strings.NewReader(domain))
	// matched is how many steps the open elements have matched, depth how many are open
	// below <domain>; seen counts elements of the next step's name. starts are where those
	// that matched begin.
	matched, depth, seen, starts := 0, -1, 0, []int64{0}
	for {
		at := decoder.InputOffset()
		token, err := decoder.RawToken()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = fault.New(fault.Invalid, "the domain's XML has no end")
			}
			return l, err
		}
		switch t := token.(type) {
		case xml.StartElement:
			depth++
			if depth != matched+1 || matched == len(steps) || t.Name.Space != "" || t.Name.Local != steps[matched].Name {
				continue
			}
			if seen++; seen == max(steps[matched].Index, 1) {
				matched, seen, starts = matched+1, 0, append(starts, at)
			}
		case xml.EndElement:
			if depth == matched {
				return located{start: starts[matched], inside: at, end: decoder.InputOffset(), missing: steps[matched:]}, nil
			}
			depth--
		}
	}
}

// replace puts text in place of what stands between two offsets, on its line; without
// text the line goes, too.
func replace(domain string, start, end int64, text string) string {
	head, tail := domain[:start], domain[end:]
	indent := head[strings.LastIndexByte(head, '\n')+1:]
	if strings.TrimSpace(indent) != "" {
		return head + text + tail
	}
	if text == "" {
		return head[:len(head)-len(indent)] + strings.TrimPrefix(tail, "\n")
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = indent + strings.TrimRight(line, " \t\r")
	}
	return head[:len(head)-len(indent)] + strings.Join(lines, "\n") + tail
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
