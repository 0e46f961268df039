package libvirt

import (
	"fmt"
	"strings"

	golibvirt "libvirt.org/go/libvirt"

	"vmctl/pkg/fault"
	"vmctl/pkg/libvirt/domainxml"
	"vmctl/pkg/spec"
)

// blame finds the fragment of the definition's own that a host refuses. libvirt says
// only that the whole is not valid: so the domain is checked with one fragment more at
// a time, on a host of ours in memory, which has the same parser and schema.
func (c *conn) blame(config domainxml.Config, refused error) error {
	fragments := config.Machine.XML
	why := tidy(text(refused))
	if first, _, ok := strings.Cut(why, "\n"); ok {
		why = first
	}
	for n := range len(fragments) + 1 {
		config.Machine.XML = fragments[:n]
		doc, err := domainxml.Render(config)
		if err != nil {
			return err
		}
		err = checkOffline(doc)
		if err == nil {
			continue
		}
		if n == 0 {
			return refused // not for a fragment
		}
		f := fragments[n-1]
		return because(fault.Invalid, fmt.Sprintf("xml[%d] of the definition, which %s, is not what libvirt takes: %s", n-1, does(f), reason(err)), refused).
			WithHint("https://libvirt.org/formatdomain.html says what may stand where")
	}
	// The host refuses what this client's libvirt takes.
	return because(fault.Invalid, fmt.Sprintf("the domain with the definition's own XML (%d of xml) is not what the host takes: %s", len(fragments), why), refused).
		WithHint("take the fragments out one by one to see which it is")
}

// does is what a fragment does, for people.
func does(f spec.Fragment) string {
	place, elements := f.At, "<"+strings.Join(f.Elements(), ">, <")+">"
	if place == "" {
		place = "the domain"
	}
	switch {
	case f.Remove:
		return "removes " + place
	case f.Replace != "":
		return "replaces " + place + " by " + elements
	default:
		return "adds " + elements + " to " + place
	}
}

// reason is what libvirt says, without the files and the lines that only repeat.
func reason(err error) string {
	message := tidy(text(err))
	for _, noise := range []string{"XML document failed to validate against schema: "} {
		message = strings.TrimPrefix(message, noise)
	}
	var kept []string
	for line := range strings.SplitSeq(message, "\n") {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "Unable to validate doc against") && !strings.HasPrefix(line, "Element domain failed to validate") {
			kept = append(kept, line)
		}
	}
	if len(kept) == 0 {
		return "it does not fit libvirt's schema"
	}
	return strings.Join(kept, "; ")
}

// checkOffline lets libvirt's parser and schema look at a domain.
func checkOffline(doc string) error {
	l, err := golibvirt.NewConnect("test:///default")
	if err != nil {
		return nil // there is no such driver here, and nothing more to be learnt
	}
	defer func() { _, _ = l.Close() }()
	d, err := l.DomainDefineXMLFlags(doc, golibvirt.DOMAIN_DEFINE_VALIDATE)
	if err != nil {
		return err
	}
	defer func() { _ = d.Free() }()
	return d.Undefine()
}
