package engine

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"vmctl/pkg/spec"
)

// Setting is a key of the definition, and its value in words.
type Setting struct{ Key, Value string }

// none is the value of a key that is not there.
const none = "none"

// Keys of the definition that are named in more than one place.
const (
	keySecrets = "secrets"
	keyCarrier = "secrets-by"
)

// Settings are the keys of a definition that are not at their default.
func Settings(m *spec.Machine) []Setting {
	var all []Setting
	add := func(is bool, key string, value any) {
		if is {
			all = append(all, Setting{key, fmt.Sprint(value)})
		}
	}
	add(m.TPM, "tpm", "2.0")
	add(m.Watchdog != "" && m.Watchdog != spec.WatchdogNone, "watchdog", m.Watchdog)
	add(m.CPU.Model != "" && m.CPU.Model != spec.CPUHost, "cpu.model", m.CPU.Model)
	add(m.CPU.Topology.CPUs() > 0, "cpu.topology", m.CPU.Topology)
	add(m.Hugepages > 0, "hugepages", m.Hugepages)
	add(m.Graphics != "" && m.Graphics != spec.GraphicsNone, "graphics", m.Graphics)
	add(m.SecretsBy == spec.CarrierFirmware, keyCarrier, m.SecretsBy)
	add(m.Systemd.Use, "systemd", systemd(m))
	add(len(m.Devices.PCI) > 0, "devices.pci", strings.Join(m.Devices.PCI, ", "))
	add(len(m.Devices.USB) > 0, "devices.usb", strings.Join(m.Devices.USB, ", "))
	for i, f := range m.XML {
		add(true, fmt.Sprintf("xml[%d]", i), fragment(f))
	}
	return all
}

// systemd is what systemd is told, in short: a digest tells a change of the keys.
func systemd(m *spec.Machine) string {
	host := cmp.Or(m.Systemd.Hostname, m.Name)
	if len(m.Systemd.Keys) == 0 {
		return host
	}
	sum := sha256.Sum256([]byte(strings.Join(m.Systemd.Keys, "\n")))
	return fmt.Sprintf("%s, %d ssh keys (%x)", host, len(m.Systemd.Keys), sum[:4])
}

// fragment is what a fragment does, in short. The XML itself may hold a password, and
// whoever may look at the domain sees its metadata: a digest tells a change.
func fragment(f spec.Fragment) string {
	var place strings.Builder
	place.WriteString("domain")
	for _, step := range f.Steps() {
		place.WriteString("/" + step.Name)
		if step.Index > 0 {
			fmt.Fprintf(&place, "[%d]", step.Index)
		}
	}
	elements, sum := strings.Join(f.Elements(), ","), sha256.Sum256([]byte(f.XML()))
	switch {
	case f.Remove:
		return "without " + place.String()
	case f.Replace != "":
		return fmt.Sprintf("%s ⇒ {%s} (%x)", place.String(), elements, sum[:4])
	default:
		return fmt.Sprintf("%s/{%s} (%x)", place.String(), elements, sum[:4])
	}
}

// further lists the differences in what only few machines have. All of it takes effect
// at a boot.
func further(was, want Record) []change {
	from, to := was.further(), want.further()
	var all []change
	for _, s := range to {
		if old := valueOf(from, s.Key); old != s.Value {
			all = append(all, change{key: s.Key, from: old, to: s.Value})
		}
	}
	for _, s := range from {
		if valueOf(to, s.Key) == none {
			all = append(all, change{key: s.Key, from: s.Value, to: none})
		}
	}
	return all
}

func valueOf(all []Setting, key string) string {
	for _, s := range all {
		if s.Key == key {
			return s.Value
		}
	}
	return none
}

// further are the settings together with what is recorded in a form of its own.
func (r *Record) further() []Setting {
	var all []Setting
	for i, card := range r.Interfaces {
		words := []string{card.String()}
		if card.Address.IsValid() {
			words = append(words, card.Address.String())
		}
		if card.MAC != "" {
			words = append(words, card.MAC)
		}
		if card.Model != "" && card.Model != spec.CardVirtio {
			words = append(words, card.Model)
		}
		all = append(all, Setting{fmt.Sprintf("interfaces[%d]", i), strings.Join(words, " ")})
	}
	for _, share := range r.Shares {
		all = append(all, Setting{"shares." + share.Tag, share.String()})
	}
	return append(all, r.Settings...)
}

// undecided are shares for which nobody has looked yet how the guest gets them.
func undecided(shares []spec.Share) []Share {
	var all []Share
	for _, s := range shares {
		all = append(all, Share{Share: s})
	}
	return all
}

// cards are the network cards that a recorded machine has.
func (r *Record) cards() []spec.Interface {
	m := spec.Machine{Network: r.Network, Interfaces: r.Interfaces}
	return m.Cards(false)
}

// networks are the libvirt networks that cards are on, each once.
func networks(cards []spec.Interface) []string {
	var names []string
	for _, card := range cards {
		if card.Link == spec.LinkNetwork && !slices.Contains(names, card.Name) {
			names = append(names, card.Name)
		}
	}
	return names
}
