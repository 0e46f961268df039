package engine

import (
	"fmt"
	"slices"
	"strings"

	"vmctl/pkg/spec"
)

// change is one difference between what is declared and the persistent definition.
type change struct {
	key, from, to string
	// live says that a running guest can take it without a restart (or does not notice).
	live bool
}

func (c change) String() string { return fmt.Sprintf("%s %s → %s", c.key, c.from, c.to) }

// record is the metadata that the wanted machine carries.
func (e *Engine) record(w Wanted, base string) Record {
	m := w.Machine
	return Record{
		Version: RecordVersion, Rendering: Rendering, Vmctl: e.Version, Project: e.Project,
		Image: w.Image.ID, Source: w.Image.Source, Base: base,
		Root: RootVolume(m.Name), Log: LogVolume(m.Name),
		Memory: m.Memory, CPUs: m.CPUs, Disk: m.Disk, Accel: m.Accel,
		Firmware: m.Firmware, SecureBoot: m.SecureBoot,
		Network: m.ResolveNetwork(e.Host.Session), Ports: m.Ports,
		Interfaces: m.Interfaces, Shares: undecided(m.Shares), Settings: Settings(&m), Secrets: w.Delivery.names(),
	}
}

// changes lists how the persistent definition differs from what is wanted. The image
// is not in it: that is the root disk's business.
func (e *Engine) changes(w Wanted, d *Domain) []change {
	was, want := *d.Record, e.record(w, "")
	var all []change
	add := func(key string, differs bool, from, to any, live bool) {
		if differs {
			all = append(all, change{key, fmt.Sprint(from), fmt.Sprint(to), live})
		}
	}
	add("memory", d.Memory != want.Memory, d.Memory, want.Memory, d.Live != nil && want.Memory <= d.Live.MaxMemory)
	add("cpus", d.CPUs != want.CPUs, d.CPUs, want.CPUs,
		d.Live != nil && want.CPUs <= d.Live.MaxCPUs && want.CPUs >= d.Live.CPUs)
	add("accel", was.Accel != want.Accel, was.Accel, want.Accel, false)
	add("firmware", was.Firmware != want.Firmware, was.Firmware, want.Firmware, false)
	add("secure-boot", was.SecureBoot != want.SecureBoot, was.SecureBoot, want.SecureBoot, false)
	add("network", was.Network != want.Network, was.Network, want.Network, false)
	add("ports", !slices.Equal(was.Ports, want.Ports), portList(was.Ports), portList(want.Ports), false)
	all = append(all, further(was, want)...)
	if c, differs := deliveryChange(w, was.Secrets); differs {
		all = append(all, c)
	}
	add("project", was.Project != want.Project, was.Project, want.Project, true)
	add("definition format", was.Rendering < want.Rendering, was.Rendering, want.Rendering, false)
	return all
}

// pending lists what the running guest has not got yet although the persistent
// definition has it.
func pending(d *Domain) []change {
	if d.Live == nil || d.Live.Record == nil || d.Record == nil {
		return nil
	}
	live, config := *d.Live.Record, *d.Record
	var all []change
	add := func(key string, differs bool, from, to any) {
		if differs {
			all = append(all, change{key: key, from: fmt.Sprint(from), to: fmt.Sprint(to)})
		}
	}
	add("memory", live.Memory != config.Memory, live.Memory, config.Memory)
	add("cpus", d.Live.CPUs != d.CPUs, d.Live.CPUs, d.CPUs)
	add("accel", live.Accel != config.Accel, live.Accel, config.Accel)
	add("firmware", live.Firmware != config.Firmware, live.Firmware, config.Firmware)
	add("secure-boot", live.SecureBoot != config.SecureBoot, live.SecureBoot, config.SecureBoot)
	add("network", live.Network != config.Network, live.Network, config.Network)
	add("ports", !slices.Equal(live.Ports, config.Ports), portList(live.Ports), portList(config.Ports))
	if valueOf(config.Settings, keyCarrier) != none {
		// By a disk they are handed to what runs.
		add(keySecrets, !slices.Equal(live.Secrets, config.Secrets), nameList(live.Secrets), nameList(config.Secrets))
	}
	all = append(all, pendingVolumes(d)...)
	all = append(all, further(live, config)...)
	add("definition format", live.Rendering != config.Rendering, live.Rendering, config.Rendering)
	return append(all, differences(live.Media, config.Media)...)
}

func portList(ports []spec.Port) string {
	if len(ports) == 0 {
		return "none"
	}
	words := make([]string, len(ports))
	for i, p := range ports {
		words[i] = fmt.Sprintf("%s:%d:%d/%s", p.Address, p.Host, p.Guest, p.Protocol)
	}
	return strings.Join(words, ", ")
}

// causes joins changes for people.
func causes(all []change) string {
	words := make([]string, len(all))
	for i, c := range all {
		words[i] = c.String()
	}
	return strings.Join(words, ", ")
}
