package libvirt

import (
	"context"
	"encoding/xml"
	"strings"
	"time"

	golibvirt "libvirt.org/go/libvirt"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/libvirt/domainxml"
)

// Portable reads the persistent definition.
func (c *conn) Portable(ctx context.Context, name string) (engine.Portable, error) {
	return read(ctx, c, "read domain "+quoteName(name), func(l *golibvirt.Connect) (out engine.Portable, err error) {
		err = c.withDomain(l, name, func(d *golibvirt.Domain) error {
			text, err := d.GetXMLDesc(golibvirt.DOMAIN_XML_INACTIVE | golibvirt.DOMAIN_XML_SECURE)
			if err != nil {
				return err
			}
			if out, err = parsePortable(text); err != nil {
				return err
			}
			out.Snapshots, err = d.SnapshotNum(0)
			return ignore(err, golibvirt.ERR_NO_SUPPORT)
		})
		return out, err
	})
}

// parsePortable reads what a definition needs of a host.
func parsePortable(text string) (engine.Portable, error) {
	var def struct {
		Type string `xml:"type,attr"`
		CPU  struct {
			Mode string `xml:"mode,attr"`
		} `xml:"cpu"`
	}
	if err := xml.Unmarshal([]byte(text), &def); err != nil {
		return engine.Portable{}, fault.New(fault.Other, "the host's domain XML cannot be read: %w", err)
	}
	return engine.Portable{
		Text: text, KVM: def.Type == "kvm", HostCPU: strings.HasPrefix(def.CPU.Mode, "host-") || def.CPU.Mode == "maximum",
	}, nil
}

// noted is the element that says that the machine is on its way; it stays behind.
const noted = metadataPrefix + ":moving"

func relocate(text string, r engine.Relocation, boots bool) (string, error) {
	return domainxml.Relocate(text, domainxml.Relocation{Paths: r.Paths, Boots: boots, Drop: []string{noted}})
}

// DefineMoved defines what another host had defined.
func (c *conn) DefineMoved(ctx context.Context, name string, p engine.Portable, r engine.Relocation) error {
	text, err := relocate(p.Text, r, true)
	if err != nil {
		return err
	}
	return change(ctx, c, "define domain "+quoteName(name), func(l *golibvirt.Connect) error {
		d, err := l.DomainDefineXMLFlags(text, golibvirt.DOMAIN_DEFINE_VALIDATE)
		if err != nil {
			return err
		}
		return d.Free()
	})
}

// NoteMove changes the metadata of the persistent definition alone.
func (c *conn) NoteMove(ctx context.Context, name string, m *engine.Moving) error {
	return c.onDomain(ctx, "note the move of", name, func(d *golibvirt.Domain) error {
		return note(d, golibvirt.DOMAIN_XML_INACTIVE, golibvirt.DOMAIN_AFFECT_CONFIG, func(r *engine.Record) { r.Moving = m })
	})
}

// MovingLive asks for the job that a domain is at.
func (c *conn) MovingLive(ctx context.Context, name string) (bool, error) {
	return read(ctx, c, "read the job of domain "+quoteName(name), func(l *golibvirt.Connect) (is bool, err error) {
		err = c.withDomain(l, name, func(d *golibvirt.Domain) error {
			active, err := d.IsActive()
			if err != nil || !active {
				return err
			}
			job, err := d.GetJobInfo()
			if err != nil {
				return ignore(err, golibvirt.ERR_NO_SUPPORT)
			}
			is = job.Type == golibvirt.DOMAIN_JOB_BOUNDED || job.Type == golibvirt.DOMAIN_JOB_UNBOUNDED
			return nil
		})
		return is, err
	})
}

// CPU is the host's, as it stands in its capabilities.
func (c *conn) CPU(ctx context.Context) (string, error) {
	return read(ctx, c, "read the capabilities of "+c.uri, func(l *golibvirt.Connect) (string, error) {
		text, err := l.GetCapabilities()
		if err != nil {
			return "", err
		}
		return parseCPU(text)
	})
}

// parseCPU takes the host's CPU out of its capabilities, as it stands there.
func parseCPU(text string) (string, error) {
	var host struct {
		CPU struct {
			Inner string `xml:",innerxml"`
		} `xml:"host>cpu"`
	}
	if err := xml.Unmarshal([]byte(text), &host); err != nil {
		return "", fault.New(fault.Other, "the host's capabilities cannot be read: %w", err)
	}
	return "<cpu>" + host.CPU.Inner + "</cpu>", nil
}

// RunsCPU asks the host to compare.
func (c *conn) RunsCPU(ctx context.Context, cpu string) (bool, error) {
	return read(ctx, c, "compare CPUs on "+c.uri, func(l *golibvirt.Connect) (bool, error) {
		result, err := l.CompareCPU(cpu, 0)
		return result == golibvirt.CPU_COMPARE_SUPERSET || result == golibvirt.CPU_COMPARE_IDENTICAL, err
	})
}

const (
	// moveFlags: the disks are filled by QEMU, on top of the image that lies there
	// (https://libvirt.org/migration.html).
	moveFlags = golibvirt.MIGRATE_LIVE | golibvirt.MIGRATE_NON_SHARED_INC | golibvirt.MIGRATE_PERSIST_DEST |
		golibvirt.MIGRATE_ABORT_ON_ERROR | golibvirt.MIGRATE_AUTO_CONVERGE
	// moveLook is how often the progress is asked for.
	moveLook = 500 * time.Millisecond
	// moveGrace is how long libvirt may take to give a move up.
	moveGrace = 20 * time.Second
)

// MoveLive lets libvirt move a running guest, in the way in which this client talks to
// both hosts: neither has to be able to log in to the other.
func (c *conn) MoveLive(ctx context.Context, name string, to engine.Moves, p engine.Passage, report func(engine.MoveProgress)) error {
	there, ok := to.(*conn)
	if !ok {
		return fault.New(fault.Other, "cannot move domain %s to a host of another kind", quoteName(name))
	}
	other, release, err := there.hold()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-there.lost:
			cancel(there.silence("move domain " + quoteName(name) + " there"))
		case <-ctx.Done():
		}
	}()
	_, err = call(ctx, c, moveGrace, "move domain "+quoteName(name)+" to "+there.uri, func(l *golibvirt.Connect) (nothing, error) {
		defer release()
		return nothing{}, c.withDomain(l, name, func(d *golibvirt.Domain) error {
			params, err := moveParameters(d, p)
			if err != nil {
				return err
			}
			done := make(chan struct{})
			watched := make(chan struct{})
			go func() { defer close(watched); watchMove(ctx, d, done, report) }()
			flags := moveFlags
			if p.TLS {
				flags |= golibvirt.MIGRATE_TLS
			}
			moved, err := d.Migrate3(other, params, flags)
			close(done)
			<-watched
			if err != nil {
				return unreached(err)
			}
			return moved.Free()
		})
	})
	return err
}

func moveParameters(d *golibvirt.Domain, p engine.Passage) (*golibvirt.DomainMigrateParameters, error) {
	params := &golibvirt.DomainMigrateParameters{DestXMLSet: true, PersistXMLSet: true}
	for flags, text := range map[golibvirt.DomainXMLFlags]*string{
		golibvirt.DOMAIN_XML_MIGRATABLE | golibvirt.DOMAIN_XML_SECURE:                                 &params.DestXML,
		golibvirt.DOMAIN_XML_MIGRATABLE | golibvirt.DOMAIN_XML_SECURE | golibvirt.DOMAIN_XML_INACTIVE: &params.PersistXML,
	} {
		now, err := d.GetXMLDesc(flags)
		if err != nil {
			return nil, err
		}
		if *text, err = relocate(now, p.Relocation, flags&golibvirt.DOMAIN_XML_INACTIVE != 0); err != nil {
			return nil, err
		}
	}
	if address := p.Address; address != "" {
		if strings.Contains(address, ":") && !strings.HasPrefix(address, "[") {
			address = "[" + address + "]"
		}
		params.URISet, params.URI = true, "tcp://"+address
	}
	return params, nil
}

// watchMove tells how far a move has come until it is done, and gives it up when ctx ends.
func watchMove(ctx context.Context, d *golibvirt.Domain, done <-chan struct{}, report func(engine.MoveProgress)) {
	tick := time.NewTicker(moveLook)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-ctx.Done():
			_ = d.AbortJob() // it may be through
			<-done
			return
		case <-tick.C:
			if info, err := d.GetJobInfo(); err == nil && info.DataTotal > 0 && ctx.Err() == nil {
				report(engine.MoveProgress{Done: int64(info.DataProcessed), Total: int64(info.DataTotal)})
			}
		}
	}
}

// unreached says what to do when the hosts do not reach each other.
func unreached(err error) error {
	message := text(err)
	if !strings.Contains(message, "unable to connect to server at") && !strings.Contains(message, "Unable to resolve address") &&
		!strings.Contains(message, "Failed to connect to") {
		return err
	}
	return because(fault.Refused, "the guest cannot be moved while it runs: "+tidy(message), err).
		WithHint("hosts send each other guests on the TCP ports 49152 to 49215: open them, or name the address at which the one reaches the other with --address; vmctl migrate --cold needs neither")
}
