package domainxml

import (
	"libvirt.org/go/libvirtxml"

	"vmctl/pkg/spec"
)

// clock runs in UTC, as Linux guests expect. The timers are those that virt-install
// gives: ticks that were missed are caught up, and the costly HPET is left out.
func clock(c Config, d *libvirtxml.Domain) error {
	d.Clock = &libvirtxml.DomainClock{Offset: "utc"}
	if c.Arch != archX86 {
		return nil
	}
	d.Clock.Timer = []libvirtxml.DomainTimer{
		{Name: "rtc", TickPolicy: "catchup"},
		{Name: "pit", TickPolicy: "delay"},
		{Name: "hpet", Present: "no"},
	}
	if c.Machine.Accel == spec.AccelKVM {
		d.Clock.Timer = append(d.Clock.Timer, libvirtxml.DomainTimer{Name: "kvmclock", Present: "yes"})
	}
	return nil
}
