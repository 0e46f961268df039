package domainxml

import "libvirt.org/go/libvirtxml"

// power: a guest that powers off or crashes stops; one that reboots stays. Sleep
// states are off, since nothing wakes such a guest.
func power(c Config, d *libvirtxml.Domain) error {
	d.OnPoweroff, d.OnReboot, d.OnCrash = "destroy", "restart", "destroy"
	if c.Arch == archX86 {
		d.PM = &libvirtxml.DomainPM{
			SuspendToMem:  &libvirtxml.DomainPMPolicy{Enabled: "no"},
			SuspendToDisk: &libvirtxml.DomainPMPolicy{Enabled: "no"},
		}
	}
	return nil
}
