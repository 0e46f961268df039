package libvirt

import (
	"context"
	"encoding/xml"
	"strings"

	"golang.org/x/sync/errgroup"
	golibvirt "libvirt.org/go/libvirt"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// domainXML is what is read from a domain's XML, and no more.
type domainXML struct {
	Name     string `xml:"name"`
	UUID     string `xml:"uuid"`
	Metadata struct {
		// Nested, because encoding/xml holds every element of an a>b path to the namespace.
		Record []record `xml:"urn:vmctl:machine machine"`
	} `xml:"metadata"`
	OS struct {
		Firmware string `xml:"firmware,attr"`
		Vars     string `xml:"nvram"`
	} `xml:"os"`
	Memory  amount `xml:"memory"`
	Current amount `xml:"currentMemory"`
	VCPU    struct {
		Max     int `xml:",chardata"`
		Current int `xml:"current,attr"`
	} `xml:"vcpu"`
	Disks      []diskXML `xml:"devices>disk"`
	Interfaces []struct {
		MAC struct {
			Address string `xml:"address,attr"`
		} `xml:"mac"`
	} `xml:"devices>interface"`
	Channels []struct {
		Target struct {
			Name  string `xml:"name,attr"`
			State string `xml:"state,attr"`
		} `xml:"target"`
	} `xml:"devices>channel"`
}

// amount is a number with a unit; libvirt itself always writes KiB.
type amount struct {
	Value uint64 `xml:",chardata"`
}

func (a amount) size() spec.Size { return spec.Size(a.Value) * spec.KiB }

func parseDomain(text string) (*domainXML, error) {
	var d domainXML
	if err := xml.Unmarshal([]byte(text), &d); err != nil {
		return nil, fault.New(fault.Other, "the host's domain XML cannot be read: %w", err)
	}
	return &d, nil
}

func (d *domainXML) record() *engine.Record {
	if len(d.Metadata.Record) == 0 {
		return nil
	}
	return fromRecord(d.Metadata.Record[0])
}

func (d *domainXML) cpus() int {
	if d.VCPU.Current > 0 {
		return d.VCPU.Current
	}
	return d.VCPU.Max
}

// memory is the present size. libvirt counts in KiB: a size between two KiB was
// rounded up when it was defined, and reads as what was declared.
func (d *domainXML) memory(r *engine.Record) spec.Size {
	size := d.Current.size()
	if size == 0 {
		size = d.Memory.size()
	}
	if r != nil && (r.Memory+spec.KiB-1)/spec.KiB*spec.KiB == size {
		return r.Memory
	}
	return size
}

func (d *domainXML) files() []string {
	var files []string
	for _, disk := range d.Disks {
		if file := disk.path(); file != "" {
			files = append(files, file)
		}
	}
	return files
}

var states = map[golibvirt.DomainState]engine.State{
	golibvirt.DOMAIN_RUNNING:  engine.StateRunning,
	golibvirt.DOMAIN_BLOCKED:  engine.StateRunning,
	golibvirt.DOMAIN_PAUSED:   engine.StatePaused,
	golibvirt.DOMAIN_SHUTDOWN: engine.StateShutdown,
	golibvirt.DOMAIN_SHUTOFF:  engine.StateShutOff,
	golibvirt.DOMAIN_CRASHED:  engine.StateCrashed,
}

func stateOf(s golibvirt.DomainState) engine.State {
	if state, ok := states[s]; ok {
		return state
	}
	return engine.StateOther
}

// withDomain looks a domain up for the time of f.
func (c *conn) withDomain(l *golibvirt.Connect, name string, f func(*golibvirt.Domain) error) error {
	return c.domains.with(name, l.LookupDomainByName, f)
}

// Domain reads one domain: its state, what is defined, and what runs.
func (c *conn) Domain(ctx context.Context, name string) (*engine.Domain, error) {
	return read(ctx, c, "read domain "+quoteName(name), func(l *golibvirt.Connect) (out *engine.Domain, err error) {
		err = c.withDomain(l, name, func(d *golibvirt.Domain) error {
			out, err = readDomain(d)
			return err
		})
		return out, err
	})
}

func readDomain(d *golibvirt.Domain) (*engine.Domain, error) {
	out := &engine.Domain{}
	var config, running *domainXML
	var persistent bool
	var parts errgroup.Group
	parts.Go(func() error {
		state, _, err := d.GetState()
		out.State = stateOf(state)
		return err
	})
	parts.Go(func() (err error) {
		config, err = readXML(d, golibvirt.DOMAIN_XML_INACTIVE)
		return err
	})
	parts.Go(func() (err error) { // what is defined, when it does not run
		running, err = readXML(d, 0)
		return err
	})
	parts.Go(func() (err error) {
		out.Autostart, err = d.GetAutostart()
		return err
	})
	parts.Go(func() (err error) {
		persistent, err = d.IsPersistent()
		return err
	})
	if err := parts.Wait(); err != nil {
		return nil, err
	}
	record := config.record()
	out.Name, out.UUID, out.Record, out.Transient = config.Name, config.UUID, record, !persistent
	out.Memory, out.CPUs = config.memory(record), config.cpus()
	out.Disks, out.Attached = config.files(), config.attached()
	out.EFI, out.Vars = config.OS.Firmware == "efi", strings.TrimSpace(config.OS.Vars)
	if !out.State.Active() {
		// Only a domain that is off can have a saved image to start from; drivers that
		// know none have none.
		var err error
		out.ManagedSave, err = d.HasManagedSaveImage(0)
		return out, ignore(err, golibvirt.ERR_NO_SUPPORT)
	}
	live := running.record()
	out.Live = &engine.Live{
		Record: live, Memory: running.memory(live), MaxMemory: running.Memory.size(),
		CPUs: running.cpus(), MaxCPUs: running.VCPU.Max,
		Attached: running.attached(),
	}
	return out, nil
}

func readXML(d *golibvirt.Domain, flags golibvirt.DomainXMLFlags) (*domainXML, error) {
	text, err := d.GetXMLDesc(flags)
	if err != nil {
		return nil, err
	}
	return parseDomain(text)
}

// ignore makes an error with one of the numbers none.
func ignore(err error, numbers ...golibvirt.ErrorNumber) error {
	if isAny(err, numbers) {
		return nil
	}
	return err
}

// DomainXML is the domain's XML as the host has it, without secrets.
func (c *conn) DomainXML(ctx context.Context, name string, inactive bool) (string, error) {
	return read(ctx, c, "read domain "+quoteName(name), func(l *golibvirt.Connect) (text string, err error) {
		var flags golibvirt.DomainXMLFlags
		if inactive {
			flags = golibvirt.DOMAIN_XML_INACTIVE
		}
		err = c.withDomain(l, name, func(d *golibvirt.Domain) error {
			text, err = d.GetXMLDesc(flags)
			return err
		})
		return text, err
	})
}
