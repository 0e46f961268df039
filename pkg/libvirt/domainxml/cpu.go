package domainxml

import (
	"libvirt.org/go/libvirtxml"

	"vmctl/pkg/spec"
)

// cpu gives the guest all that the host's CPU has under KVM; software emulation
// refuses host-passthrough, and "maximum" is all that it can emulate.
func cpu(c Config, d *libvirtxml.Domain) error {
	d.VCPU = &libvirtxml.DomainVCPU{Placement: "static", Value: uint(max(c.Machine.CPUs, 1))}
	mode := "host-passthrough"
	if c.Machine.Accel == spec.AccelTCG {
		mode = "maximum"
	}
	d.CPU = &libvirtxml.DomainCPU{Mode: mode, Check: "none"}
	return nil
}
