package domainxml

import "libvirt.org/go/libvirtxml"

// serial is the machine's console. What it prints also goes into a log, which begins
// anew with each boot. virtlogd writes it, and it is readable only through libvirt.
func serial(c Config, d *libvirtxml.Domain) error {
	port := uint(0)
	s := libvirtxml.DomainSerial{
		Source: &libvirtxml.DomainChardevSource{Pty: &libvirtxml.DomainChardevSourcePty{}},
		Target: &libvirtxml.DomainSerialTarget{Port: &port},
	}
	if c.Log != "" {
		s.Log = &libvirtxml.DomainChardevLog{File: c.Log, Append: "off"}
	}
	d.Devices.Serials = append(d.Devices.Serials, s)
	d.Devices.Consoles = append(d.Devices.Consoles, libvirtxml.DomainConsole{
		Source: &libvirtxml.DomainChardevSource{Pty: &libvirtxml.DomainChardevSourcePty{}},
		Target: &libvirtxml.DomainConsoleTarget{Type: "serial", Port: &port},
	})
	return nil
}
