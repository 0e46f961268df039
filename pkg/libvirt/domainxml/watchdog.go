package domainxml

import (
	"libvirt.org/go/libvirtxml"

	"vmctl/pkg/spec"
)

// watchdog acts when the guest has begun to feed it and stops. The model is the one
// that every machine type and libvirt has.
func watchdog(c Config, d *libvirtxml.Domain) error {
	action := c.Machine.Watchdog
	if action == "" || action == spec.WatchdogNone {
		return nil
	}
	d.Devices.Watchdogs = append(d.Devices.Watchdogs, libvirtxml.DomainWatchdog{Model: "i6300esb", Action: string(action)})
	return nil
}
