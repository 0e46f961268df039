package domainxml

import "libvirt.org/go/libvirtxml"

// tpm is a TPM 2.0 by swtpm. libvirt keeps its state under the domain's UUID and
// removes it when it undefines the domain.
func tpm(c Config, d *libvirtxml.Domain) error {
	if !c.Machine.TPM {
		return nil
	}
	model := "tpm-crb"
	if c.Arch == archARM {
		model = "tpm-tis"
	}
	d.Devices.TPMs = append(d.Devices.TPMs, libvirtxml.DomainTPM{
		Model:   model,
		Backend: &libvirtxml.DomainTPMBackend{Emulator: &libvirtxml.DomainTPMBackendEmulator{Version: "2.0"}},
	})
	return nil
}
