package libvirt

import (
	"context"
	"encoding/xml"
	"io"

	golibvirt "libvirt.org/go/libvirt"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
)

// screenXML is what is read of a running domain's screens.
type screenXML struct {
	Graphics []struct {
		Type   string `xml:"type,attr"`
		Port   int    `xml:"port,attr"`
		Listen string `xml:"listen,attr"`
	} `xml:"devices>graphics"`
}

// Screen says where a guest's screen is served.
func (c *conn) Screen(ctx context.Context, domain string) (engine.Screen, error) {
	text, err := c.DomainXML(ctx, domain, false)
	if err != nil {
		return engine.Screen{}, err
	}
	return parseScreen(domain, text)
}

func parseScreen(domain, text string) (engine.Screen, error) {
	var d screenXML
	if err := xml.Unmarshal([]byte(text), &d); err != nil {
		return engine.Screen{}, fault.New(fault.Other, "the host's domain XML cannot be read: %w", err)
	}
	for _, g := range d.Graphics {
		if g.Port <= 0 || g.Port > 65535 {
			continue // it is not served, or not by TCP
		}
		address := g.Listen
		if address == "" {
			address = "127.0.0.1"
		}
		return engine.Screen{Kind: printable(g.Type), Address: printable(address), Port: uint16(g.Port)}, nil
	}
	return engine.Screen{}, fault.New(fault.NotFound, "domain %s has no screen that is served", quoteName(domain))
}

// Screenshot takes a picture of a guest's first screen.
func (c *conn) Screenshot(ctx context.Context, domain string) (mime string, picture io.ReadCloser, err error) {
	doing := "take a picture of the screen of domain " + quoteName(domain)
	why := func(err error) error { return c.explain(doing, err) }
	picture, err = openStream(ctx, c, doing, why, func(l *golibvirt.Connect, s *golibvirt.Stream) error {
		return c.withDomain(l, domain, func(d *golibvirt.Domain) error {
			mime, err = d.Screenshot(s, 0, 0)
			return err
		})
	})
	return mime, picture, err
}
