package engine

import (
	"fmt"
	"slices"
	"strings"

	"vmctl/pkg/ansi"
	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// namesDevices says that a definition names something of the host by itself.
func namesDevices(m *spec.Machine) bool {
	return len(m.Devices.PCI)+len(m.Devices.USB) > 0 || slices.ContainsFunc(m.Interfaces, func(i spec.Interface) bool {
		return i.Link == spec.LinkBridge || i.Link == spec.LinkMacvtap
	})
}

// decide settles how the host does what the definition asks for, and refuses what it
// cannot do before anything is changed.
func (p *planner) decide(d *Definition) error {
	for _, part := range []func(*Definition) error{
		p.decideShares, p.decideMounts, p.decideCPU, p.decidePages, p.decideScreen, p.decideCards, p.decideDevices,
	} {
		if err := part(d); err != nil {
			return err
		}
	}
	if d.Machine.TPM && !p.s.capabilities.TPM {
		return fault.New(fault.Refused, "%s cannot give %s a TPM 2.0: it has no swtpm", p.e.Host.URI, d.Machine.Name).
			WithHint("install it on the host (Debian and Ubuntu: apt install swtpm swtpm-tools), or write tpm: false")
	}
	if n := len(d.Machine.XML); n > 0 {
		p.plan.Notes = append(p.plan.Notes, fmt.Sprintf("changes the domain's XML as the definition says: %d of xml", n))
	}
	return nil
}

// CanShare refuses shares on a host that does not see this machine's directories.
func (e *Engine) CanShare(m *spec.Machine) error {
	if len(m.Shares) == 0 || e.Host.Local {
		return nil
	}
	return fault.New(fault.Refused, "%s cannot share a directory: shares are directories of this machine, and %s is another one", m.Name, e.Host.URI).
		WithHint("take shares out of the definition, and copy what the guest needs over the network")
}

// decideShares takes virtiofs where it works, else 9p.
func (p *planner) decideShares(d *Definition) error {
	host, m := p.s.capabilities, d.Machine
	if err := p.e.CanShare(&m); err != nil {
		return err
	}
	d.Record.Shares = nil
	for _, s := range m.Shares {
		share := Share{Share: s, Driver: spec.Share9p}
		if dir := p.e.Project; dir != "" && s.Source != dir && !strings.HasPrefix(s.Source, dir+"/") {
			p.plan.Notes = append(p.plan.Notes, fmt.Sprintf("share %s gives the guest %s, which is outside of the project", s.Tag, s.Source))
		}
		switch {
		case host.Virtiofs && (!s.ReadOnly || p.s.readOnlyVirtiofs):
			share.Driver = spec.ShareVirtiofs
		case host.NinePFS && host.Virtiofs:
			p.plan.Notes = append(p.plan.Notes, fmt.Sprintf("share %s goes by 9p: the virtiofs of libvirt before 11.0 cannot keep a guest from writing", s.Tag))
		case host.NinePFS:
			p.plan.Notes = append(p.plan.Notes, fmt.Sprintf("share %s goes by 9p, which is slower: %s", s.Tag, host.NoVirtiofs))
		default:
			return fault.New(fault.Refused, "%s cannot share the directory %s: %s, and QEMU there has no 9p", p.e.Host.URI, s.Source, host.NoVirtiofs).
				WithHint("take share %s out of the definition, or install what is missing on the host", s.Tag)
		}
		d.Shares = append(d.Shares, share)
		d.Record.Shares = append(d.Record.Shares, share)
		d.Mounts = append(d.Mounts, s.Fstab(share.Driver))
	}
	return nil
}

func (p *planner) decideCPU(d *Definition) error {
	host, model := p.s.capabilities, d.Machine.CPU.Model
	// What is known is about the accelerator that the host prefers.
	unknown := len(host.CPUModels) == 0 || host.KVM != (d.Machine.Accel == spec.AccelKVM)
	if model == "" || model == spec.CPUHost || model == spec.CPUMaximum || unknown || slices.Contains(host.CPUModels, model) {
		return nil
	}
	err := fault.New(fault.Refused, "%s cannot give %s the CPU %s: neither its hardware nor its emulation has it", p.e.Host.URI, d.Machine.Name, model)
	if near := spec.Nearest(model, host.CPUModels); near != "" {
		return err.WithHint("did you mean %s? virsh -c %s domcapabilities shows all that are usable there", near, ansi.ShellWord(p.e.Host.URI))
	}
	return err.WithHint("write cpu: host, or one that virsh -c %s domcapabilities shows as usable", ansi.ShellWord(p.e.Host.URI))
}

func (p *planner) decidePages(d *Definition) error {
	m := d.Machine
	if m.Hugepages == 0 {
		return nil
	}
	var sizes []string
	for _, pages := range p.s.capabilities.Pages {
		if pages.Size != m.Hugepages {
			sizes = append(sizes, pages.Size.String())
			continue
		}
		if need := uint64(m.Memory / m.Hugepages); pages.Total < need {
			return fault.New(fault.Refused, "%s cannot run on huge pages: it needs %d of %s, and %s has set aside %d",
				m.Name, need, m.Hugepages, p.e.Host.URI, pages.Total).
				WithHint("on the host: echo %d >/sys/kernel/mm/hugepages/hugepages-%dkB/nr_hugepages sets them aside; or write hugepages: false", need, m.Hugepages/spec.KiB)
		}
		return nil
	}
	return fault.New(fault.Refused, "%s has no huge pages of %s", p.e.Host.URI, m.Hugepages).
		WithHint("it has pages of %s", strings.Join(append(sizes, "no other size")[:max(len(sizes), 1)], ", "))
}

func (p *planner) decideScreen(d *Definition) error {
	host, m := p.s.capabilities, d.Machine
	if m.Graphics == "" || m.Graphics == spec.GraphicsNone {
		return nil
	}
	if len(host.Graphics) > 0 && !slices.Contains(host.Graphics, string(m.Graphics)) {
		return fault.New(fault.Refused, "QEMU on %s has no %s", p.e.Host.URI, m.Graphics).
			WithHint("it has %s", strings.Join(host.Graphics, ", "))
	}
	for _, model := range []string{"virtio", "vga", "bochs", "cirrus"} {
		if slices.Contains(host.Video, model) {
			d.Video = model
			break
		}
	}
	return nil
}

func (p *planner) decideCards(d *Definition) error {
	d.Passt = p.s.capabilities.Passt
	for _, card := range d.Machine.Interfaces {
		if card.Link != spec.LinkBridge && card.Link != spec.LinkMacvtap {
			continue
		}
		if card.Link == spec.LinkMacvtap && p.e.Host.Session {
			return fault.New(fault.Refused, "%s cannot have a card beside %s on %s: macvtap takes rights that a session has not", d.Machine.Name, card.Name, p.e.Host.URI).
				WithHint("use qemu:///system, or write user: true for this interface")
		}
		var names []string
		for _, device := range p.s.devices {
			if device.Kind == DeviceNet {
				names = append(names, device.Address)
			}
		}
		// A host that lists none at all does not know.
		if len(names) > 0 && !slices.Contains(names, card.Name) {
			return fault.New(fault.NotFound, "%s has no %s", p.e.Host.URI, card).
				WithHint("it has %s", strings.Join(names, ", "))
		}
	}
	return nil
}

// decideDevices finds the host's devices that are named.
func (p *planner) decideDevices(d *Definition) error {
	m := d.Machine
	for _, name := range m.Devices.PCI {
		if p.e.Host.Session {
			return fault.New(fault.Refused, "%s cannot have the PCI device %s on %s: that takes rights that a session has not", m.Name, name, p.e.Host.URI).
				WithHint("use qemu:///system")
		}
		device, err := p.device(DevicePCI, name, "lspci -nn")
		if err != nil {
			return err
		}
		if !device.Isolated {
			return fault.New(fault.Refused, "the PCI device %s (%s) cannot be given to a guest: the host has no IOMMU for it", device.Address, device.Name).
				WithHint("switch the IOMMU (VT-d, AMD-Vi) on in the host's firmware, and boot the host with intel_iommu=on or amd_iommu=on")
		}
		if slices.Contains(d.PCI, device.Address) {
			return fault.New(fault.Invalid, "devices.pci names %s twice", device.Address).WithHint("keep one of its names")
		}
		d.PCI = append(d.PCI, device.Address)
	}
	for _, name := range m.Devices.USB {
		if _, err := p.device(DeviceUSB, name, "lsusb"); err != nil {
			return err
		}
	}
	return nil
}

// device is the one that a name fits.
func (p *planner) device(kind DeviceKind, name, command string) (Device, error) {
	var fit []Device
	for _, device := range p.s.devices {
		if device.Kind == kind && (device.Address == name || device.Numbers == name) {
			fit = append(fit, device)
		}
	}
	word := strings.ToUpper(string(kind))
	switch len(fit) {
	case 0:
		return Device{}, fault.New(fault.NotFound, "%s has no %s device %s", p.e.Host.URI, word, name).
			WithHint("%s on the host shows what there is", command)
	case 1:
		return fit[0], nil
	}
	addresses := make([]string, len(fit))
	for i, device := range fit {
		addresses[i] = device.Address
	}
	err := fault.New(fault.Refused, "%s has %d %s devices %s, and one has to be named", p.e.Host.URI, len(fit), word, name)
	if kind == DevicePCI {
		return Device{}, err.WithHint("write the address of one: %s", strings.Join(addresses, ", "))
	}
	return Device{}, err.WithHint("unplug all but one of them")
}
