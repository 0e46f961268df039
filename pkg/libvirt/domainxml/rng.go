package domainxml

import "libvirt.org/go/libvirtxml"

// rng gives the guest entropy: without it a first boot can wait long for its ssh keys.
func rng(_ Config, d *libvirtxml.Domain) error {
	d.Devices.RNGs = append(d.Devices.RNGs, libvirtxml.DomainRNG{
		Model: "virtio",
		Backend: &libvirtxml.DomainRNGBackend{
			Random: &libvirtxml.DomainRNGBackendRandom{Device: "/dev/urandom"},
		},
	})
	return nil
}
