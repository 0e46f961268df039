package engine

import (
	"fmt"
	"slices"

	"vmctl/pkg/ansi"
	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// checkHost refuses a host that cannot run the guest.
func (m *Move) checkHost(s *moveSnapshot, _ Way) error {
	record, from, to := s.from.domain.Record, s.from.capabilities, s.to.capabilities
	no := func(why string) *fault.Error {
		return fault.New(fault.Refused, "%s cannot run %s: %s", m.ToName, m.Name, why)
	}
	switch {
	case from.Arch != to.Arch:
		return no(fmt.Sprintf("it is %s, and the machine is %s", to.Arch, from.Arch)).WithHint("choose a host of the same architecture")
	case s.portable.KVM && !to.KVM:
		return no(to.NoKVM).WithHint("choose a host with KVM; or let the machine be emulated first: vmctl up --accel tcg --restart %s", m.Name)
	case record.Firmware == spec.FirmwareEFI && !to.EFI:
		return no("it has no UEFI firmware").WithHint("install it on the host (Debian and Ubuntu: apt install ovmf)")
	case record.SecureBoot && !to.SecureBoot:
		return no("it has no firmware with Secure Boot").WithHint("install it on the host")
	case setting(record, "tpm") && !to.TPM:
		return no("it has no swtpm").WithHint("install it on the host (Debian and Ubuntu: apt install swtpm swtpm-tools)")
	}
	return nil
}

// checkNetworks refuses networks, bridges and addresses that are not there.
func (m *Move) checkNetworks(s *moveSnapshot, _ Way) error {
	record := s.from.domain.Record
	for _, name := range networks(record.cards()) {
		if _, ok := s.network[name]; !ok {
			return (&planner{e: m.To, s: &snapshot{networks: s.networks}}).noNetwork(name)
		}
	}
	for _, card := range record.Interfaces {
		if card.Link != spec.LinkBridge && card.Link != spec.LinkMacvtap {
			continue
		}
		known := slices.ContainsFunc(s.devices, func(d Device) bool { return d.Kind == DeviceNet })
		if known && !slices.ContainsFunc(s.devices, func(d Device) bool { return d.Kind == DeviceNet && d.Address == card.Name }) {
			return fault.New(fault.NotFound, "%s has no %s", m.ToName, card).
				WithHint("make it there under the same name; or put the machine on another network first")
		}
	}
	for _, r := range recorded(s.from.domain) {
		if dhcp := s.dhcp[r.network]; !slices.Contains(dhcp.Reserved, r.Reservation) {
			if err := free(dhcp, r, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkPorts refuses forwards of ports that another machine has there.
func (m *Move) checkPorts(s *moveSnapshot, _ Way) error {
	for _, p := range s.from.domain.Record.Ports {
		for _, other := range s.domains {
			if other.Record == nil || other.Name == m.Name {
				continue
			}
			for _, q := range other.Record.Ports {
				if p.Host == q.Host && p.Protocol == q.Protocol && overlap(p, q) {
					return fault.New(fault.Refused, "port %d of %s is taken: machine %s forwards it", p.Host, m.ToName, other.Name).
						WithHint("choose another port in one of the definitions, and run vmctl up --restart")
				}
			}
		}
	}
	return nil
}

// overlap says that two forwards of one port cannot both be.
func overlap(p, q spec.Port) bool {
	return p.Address == q.Address || p.Address.IsUnspecified() || q.Address.IsUnspecified()
}

// checkRoom refuses to begin what would fill the disk.
func (m *Move) checkRoom(s *moveSnapshot, _ Way) error {
	if s.to.pool.State != PoolActive || s.to.pool.Available == 0 {
		return nil // nobody knows yet
	}
	var need spec.Size
	for _, v := range s.moved() {
		need += v.Allocation
	}
	if s.placed == nil && s.image != nil {
		need += s.image.FileSize
	}
	if need > s.to.pool.Available {
		return fault.New(fault.Refused, "there is not enough room on %s: %s needs %s, and storage pool %s has %s", m.ToName, m.Name, need, s.to.pool.Name, s.to.pool.Available).
			WithHint("vmctl -c %s image prune removes images that nothing uses", ansi.ShellWord(m.To.Host.URI))
	}
	return nil
}

// bridged says that a card is on something of the host by its name.
func bridged(r *Record) bool {
	return namesDevices(&spec.Machine{Interfaces: r.Interfaces})
}
