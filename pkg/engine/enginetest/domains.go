package enginetest

import (
	"cmp"
	"context"
	"encoding/xml"
	"fmt"
	"slices"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// domain is a domain as the host keeps it.
type domain struct {
	// config is the persistent definition; live its copy that runs.
	config, live *definition
	name, uuid   string
	state        engine.State
	autostart    bool
	managedSave  bool
	// memory and cpus are what the running guest has at the moment.
	memory spec.Size
	cpus   int
	guest  Guest
}

// definition is what a domain is defined to be.
type definition struct {
	record *engine.Record
	memory spec.Size
	cpus   int
	disks  []string
	// attached are the disks beside the root disk; their paths are in disks, too.
	attached []engine.Disk
	network  string
	ports    []spec.Port
	log      string
	// graphics is the kind of screen.
	graphics spec.Graphics
}

func (d *definition) copy() *definition {
	c := *d
	if d.record != nil {
		r := *d.record
		r.Ports, r.Interfaces = slices.Clone(r.Ports), slices.Clone(r.Interfaces)
		r.Shares, r.Settings = slices.Clone(r.Shares), slices.Clone(r.Settings)
		c.record = &r
	}
	c.disks, c.ports, c.attached = slices.Clone(d.disks), slices.Clone(d.ports), slices.Clone(d.attached)
	return &c
}

// PlantDomain puts a domain on the host as somebody else would have: also one that
// runs, when its State says so. Without a Record it is foreign.
func (h *Host) PlantDomain(d engine.Domain) {
	h.mu.Lock()
	defer h.mu.Unlock()
	config := &definition{record: d.Record, memory: d.Memory, cpus: d.CPUs, disks: d.Disks, attached: d.Attached}
	planted := &domain{
		name: d.Name, uuid: d.UUID, state: d.State, autostart: d.Autostart, managedSave: d.ManagedSave,
		config: config.copy(),
	}
	if planted.state == "" {
		planted.state = engine.StateShutOff
	}
	if planted.state.Active() {
		planted.live, planted.memory, planted.cpus = config.copy(), d.Memory, d.CPUs
		if d.Live != nil {
			planted.live.record, planted.live.memory, planted.live.cpus = d.Live.Record, d.Live.MaxMemory, d.Live.MaxCPUs
			planted.live.attached = d.Live.Attached
			planted.memory, planted.cpus = d.Live.Memory, d.Live.CPUs
		}
		planted.guest = h.guests[d.Name]
	}
	h.domains[d.Name] = planted
}

// DomainNames are the names of all domains.
func (h *Host) DomainNames() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return sortedKeys(h.domains)
}

func sortedKeys[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func noDomain(name string) error {
	return fault.New(fault.NotFound, "cannot find domain %s", name)
}

func (h *Host) find(name string) (*domain, error) {
	if d, ok := h.domains[name]; ok {
		return d, nil
	}
	return nil, noDomain(name)
}

func (h *Host) running(name string) (*domain, error) {
	d, err := h.find(name)
	if err == nil && !d.state.Active() {
		err = fault.New(fault.Refused, "domain %s is not running", name)
	}
	return d, err
}

// ListDomains implements engine.Domains.
func (h *Host) ListDomains(ctx context.Context, reading engine.Reading) ([]engine.DomainSummary, error) {
	return read(ctx, h, "ListDomains", nil, func() ([]engine.DomainSummary, error) {
		out := []engine.DomainSummary{}
		for _, d := range h.domains {
			row := engine.DomainSummary{Name: d.name, UUID: d.uuid, State: d.state, Autostart: d.autostart && reading&engine.WithAutostart != 0}
			// A host reads only the domains that have vmctl's UUID.
			if reading&engine.WithRecords != 0 && row.Ours() {
				c := d.config.copy()
				row.Record, row.Managed, row.Memory, row.CPUs = c.record, c.record != nil, c.memory, c.cpus
			}
			out = append(out, row)
		}
		slices.SortFunc(out, func(a, b engine.DomainSummary) int { return cmp.Compare(a.Name, b.Name) })
		return out, nil
	})
}

// Domain implements engine.Domains.
func (h *Host) Domain(ctx context.Context, name string) (*engine.Domain, error) {
	return read(ctx, h, "Domain", on(name), func() (*engine.Domain, error) {
		d, err := h.find(name)
		if err != nil {
			return nil, err
		}
		c := d.config.copy()
		out := &engine.Domain{
			Name: d.name, UUID: d.uuid, State: d.state, Autostart: d.autostart, Record: c.record,
			Memory: c.memory, CPUs: c.cpus, Disks: c.disks, Attached: c.attached, ManagedSave: d.managedSave,
			Transient: d.state.Active() && d.config == d.live,
		}
		if d.state.Active() {
			live := d.live.copy()
			out.Live = &engine.Live{
				Record: live.record, Memory: d.memory, MaxMemory: live.memory, CPUs: d.cpus, MaxCPUs: live.cpus,
				Attached: live.attached,
			}
		}
		return out, nil
	})
}

// DefineDomain implements engine.Domains.
func (h *Host) DefineDomain(ctx context.Context, def engine.Definition) error {
	m := def.Machine
	return change(ctx, h, "DefineDomain", on(m.Name), func() error {
		for _, other := range h.domains {
			if other.name == m.Name && other.uuid != def.UUID || other.name != m.Name && other.uuid == def.UUID {
				return fault.New(fault.Refused, "cannot define domain %s: domain %s exists already with UUID %s", m.Name, other.name, other.uuid)
			}
		}
		switch {
		case m.Accel != spec.AccelKVM && m.Accel != spec.AccelTCG:
			return fault.New(fault.Invalid, "machine %s: its accelerator is undecided (%q)", m.Name, m.Accel)
		case m.Accel == spec.AccelKVM && !h.options.Capabilities.KVM:
			return fault.New(fault.Refused, "cannot define domain %s: KVM does not work on the host", m.Name)
		case m.Network == "":
			return fault.New(fault.Invalid, "machine %s: its network is undecided", m.Name)
		}
		record := def.Record
		d, ok := h.domains[m.Name]
		if !ok {
			d = &domain{name: m.Name, uuid: def.UUID, state: engine.StateShutOff}
			h.domains[m.Name] = d
		}
		d.config = (&definition{
			record: &record, memory: m.Memory, cpus: m.CPUs, disks: []string{def.Root},
			network: m.Network, ports: m.Ports, log: def.Log, attached: def.Disks, graphics: m.Graphics,
		}).copy()
		for _, disk := range def.Disks {
			d.config.disks = append(d.config.disks, disk.Path)
		}
		h.tell(m.Name, engine.EventOther)
		return nil
	})
}

// UndefineDomain implements engine.Domains. A domain that runs goes on without its
// definition and vanishes when it stops.
func (h *Host) UndefineDomain(ctx context.Context, name string) error {
	return change(ctx, h, "UndefineDomain", on(name), func() error {
		d, err := h.find(name)
		if err != nil {
			return err
		}
		if d.state.Active() {
			d.config, d.autostart = nil, false
			d.config = d.live
		} else {
			delete(h.domains, name)
		}
		h.tell(name, engine.EventUndefined)
		return nil
	})
}

// SetAutostart implements engine.Domains.
func (h *Host) SetAutostart(ctx context.Context, name string, enabled bool) error {
	return change(ctx, h, "SetAutostart", on(name, enabled), func() error {
		d, err := h.find(name)
		if err == nil {
			d.autostart = enabled
		}
		return err
	})
}

// DomainXML implements engine.Domains. The fake has no real XML: it is enough of it
// to tell domains apart.
func (h *Host) DomainXML(ctx context.Context, name string, inactive bool) (string, error) {
	return read(ctx, h, "DomainXML", on(name), func() (string, error) {
		d, err := h.find(name)
		if err != nil {
			return "", err
		}
		def := d.config
		if d.state.Active() && !inactive {
			def = d.live
		}
		out, err := xml.MarshalIndent(struct {
			XMLName xml.Name `xml:"domain"`
			Name    string   `xml:"name"`
			UUID    string   `xml:"uuid"`
			Memory  uint64   `xml:"memory"`
			CPUs    int      `xml:"vcpu"`
			Disks   []string `xml:"devices>disk"`
		}{Name: d.name, UUID: d.uuid, Memory: uint64(def.memory / spec.KiB), CPUs: def.cpus, Disks: def.disks}, "", "  ")
		return fmt.Sprintf("%s\n", out), err
	})
}
