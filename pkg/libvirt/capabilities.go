package libvirt

import (
	"context"
	"encoding/xml"
	"fmt"
	"slices"

	golibvirt "libvirt.org/go/libvirt"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
)

// hostXML is what is read of the host's capabilities.
type hostXML struct {
	UUID string `xml:"host>uuid"`
	CPU  struct {
		Arch   string `xml:"arch"`
		Vendor string `xml:"vendor"`
	} `xml:"host>cpu"`
	// Pages are those of each NUMA cell.
	Pages []struct {
		Unit  string `xml:"unit,attr"`
		Size  uint64 `xml:"size,attr"`
		Total uint64 `xml:",chardata"`
	} `xml:"host>topology>cells>cell>pages"`
	Guests []struct {
		OSType string `xml:"os_type"`
		Arch   struct {
			Name    string      `xml:"name,attr"`
			Domains []domainRef `xml:"domain"`
		} `xml:"arch"`
	} `xml:"guest"`
}

type domainRef struct {
	Type string `xml:"type,attr"`
}

type enumXML struct {
	Name   string   `xml:"name,attr"`
	Values []string `xml:"value"`
}

func offers(enums []enumXML, name, value string) bool {
	for _, e := range enums {
		if e.Name == name && slices.Contains(e.Values, value) {
			return true
		}
	}
	return false
}

// Capabilities asks the host what it can do, once on a connection, also for those who ask
// at the same time.
func (c *conn) Capabilities(ctx context.Context) (engine.Capabilities, error) {
	if known := c.able.Load(); known != nil {
		return *known, nil
	}
	return read(ctx, c, "read the capabilities of "+c.uri, func(l *golibvirt.Connect) (engine.Capabilities, error) {
		can, err, _ := c.ableSoon.Do("", func() (any, error) {
			can, err := c.capabilities(l)
			if err == nil {
				c.able.Store(&can)
			}
			return can, err
		})
		out, _ := can.(engine.Capabilities)
		return out, err
	})
}

// Versions asks the host for its programs' versions.
func (c *conn) Versions(ctx context.Context) (engine.Versions, error) {
	return read(ctx, c, "read the versions of "+c.uri, func(l *golibvirt.Connect) (v engine.Versions, err error) {
		lib, err := l.GetLibVersion()
		if err != nil {
			return v, err
		}
		kind, err := l.GetType()
		if err != nil {
			return v, err
		}
		hyper, err := l.GetVersion()
		return engine.Versions{Libvirt: dotted(lib), Hypervisor: kind + " " + dotted(hyper)}, err
	})
}

func (c *conn) capabilities(l *golibvirt.Connect) (out engine.Capabilities, err error) {
	text, err := l.GetCapabilities()
	if err != nil {
		return out, err
	}
	host, err := parseCapabilities(text)
	if err != nil {
		return out, err
	}
	out.Arch, out.ID = host.CPU.Arch, host.UUID
	if c.place.session {
		out.ID = "" // an unprivileged libvirtd cannot read the machine's, and draws another one each time
	}
	if c.place.test {
		// It pretends to be some 32-bit machine and runs nothing.
		out.Arch, out.NoKVM = archX86, "the test driver runs no guests"
		return out, nil
	}
	out.NoKVM = noKVM(host, func(feature string) (bool, error) { return hasFeature(l, feature) })
	out.KVM = out.NoKVM == ""
	out.Pages = hugePages(host)
	caps, err := readDomainCapabilities(l, out.Arch, out.KVM)
	if err != nil {
		return out, err
	}
	version := ""
	if c.place.session {
		lib, err := l.GetLibVersion()
		if err != nil {
			return out, err
		}
		version = dotted(lib)
	}
	caps.into(&out, version, c.place)
	return out, nil
}

func parseCapabilities(text string) (*hostXML, error) {
	var host hostXML
	if err := xml.Unmarshal([]byte(text), &host); err != nil {
		return nil, fault.New(fault.Other, "the host's capabilities cannot be read: %w", err)
	}
	return &host, nil
}

// dotted reads libvirt's way to put a version into a number.
func dotted(v uint32) string { return fmt.Sprintf("%d.%d.%d", v/1000000, v/1000%1000, v%1000) }

const archX86 = "x86_64"

// noKVM says why guests cannot run under KVM, or nothing when they can. That the
// capabilities list KVM is not enough on x86: a machine can have /dev/kvm without a
// CPU that virtualises (a guest without nested virtualisation), and every guest then
// hangs at its first instruction. Features are asked one by one because the
// capabilities name a CPU model and leave out what the model implies.
func noKVM(host *hostXML, has func(feature string) (bool, error)) string {
	if !listsKVM(host) {
		return "libvirt on the host finds no usable /dev/kvm"
	}
	if host.CPU.Arch != archX86 {
		return ""
	}
	features := []string{"vmx", "svm"}
	if f, ok := map[string]string{"Intel": "vmx", "AMD": "svm"}[host.CPU.Vendor]; ok {
		features = []string{f}
	}
	for _, feature := range features {
		// A host that cannot answer is believed to be what its capabilities say.
		if yes, err := has(feature); yes || err != nil {
			return ""
		}
	}
	return "the host's CPU has neither vmx nor svm (hardware virtualisation is switched off, or the host is itself a virtual machine)"
}

func listsKVM(host *hostXML) bool {
	for _, g := range host.Guests {
		if g.OSType == "hvm" && g.Arch.Name == host.CPU.Arch &&
			slices.Contains(g.Arch.Domains, domainRef{"kvm"}) {
			return true
		}
	}
	return false
}

// hasFeature compares the host's CPU with the least of all plus one feature.
func hasFeature(l *golibvirt.Connect, feature string) (bool, error) {
	// No match attribute: libvirt rejects one beside <arch> when it compares with the host.
	wanted := "<cpu><arch>x86_64</arch><model>486</model><feature policy='require' name='" + feature + "'/></cpu>"
	result, err := l.CompareCPU(wanted, 0)
	if err != nil {
		return false, err
	}
	return result == golibvirt.CPU_COMPARE_SUPERSET || result == golibvirt.CPU_COMPARE_IDENTICAL, nil
}
