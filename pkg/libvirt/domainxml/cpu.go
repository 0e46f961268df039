package domainxml

import (
	"libvirt.org/go/libvirtxml"

	"vmctl/pkg/spec"
)

// cpu gives the guest all that the host's CPU has under KVM; software emulation
// refuses host-passthrough, and "maximum" is all that it can emulate.
func cpu(c Config, d *libvirtxml.Domain) error {
	d.VCPU = &libvirtxml.DomainVCPU{Placement: "static", Value: uint(max(c.Machine.CPUs, 1))}
	d.CPU = &libvirtxml.DomainCPU{Check: "none"}
	switch model := c.Machine.CPU.Model; {
	case model != "" && model != spec.CPUHost && model != spec.CPUMaximum:
		d.CPU.Mode, d.CPU.Match, d.CPU.Check = "custom", "exact", "partial"
		d.CPU.Model = &libvirtxml.DomainCPUModel{Fallback: "forbid", Value: model}
	case model == spec.CPUMaximum, c.Machine.Accel == spec.AccelTCG:
		d.CPU.Mode = "maximum"
	default:
		d.CPU.Mode = "host-passthrough"
	}
	if t := c.Machine.CPU.Topology; t.CPUs() > 0 {
		d.CPU.Topology = &libvirtxml.DomainCPUTopology{Sockets: t.Sockets, Cores: t.Cores, Threads: t.Threads}
	}
	return nil
}
