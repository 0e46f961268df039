package spec

import (
	"fmt"

	"github.com/invopop/jsonschema"
)

// Carrier is how secrets come into the guest at a boot.
type Carrier string

// The carriers.
const (
	// CarrierDisk is a small disk that vmctl's module or script in the guest empties.
	CarrierDisk Carrier = "disk"
	// CarrierFirmware is QEMU's fw_cfg, which systemd reads by itself.
	CarrierFirmware Carrier = "fw_cfg"
)

const (
	// FirmwarePrefix begins the names of what systemd takes from fw_cfg.
	FirmwarePrefix = "opt/io.systemd.credentials/"
	// firmwareName is the longest name of a secret there: QEMU takes 55 bytes with the
	// prefix (FW_CFG_MAX_FILE_PATH).
	firmwareName = 55 - len(FirmwarePrefix)
	// FirmwareBytes is the most that all secrets may have together: fw_cfg is slow.
	FirmwareBytes = 64 << 10
	// TmpfilesCredential is what systemd-tmpfiles takes lines from: the machine's ssh host
	// key travels in it.
	TmpfilesCredential = "tmpfiles.extra"
)

func carrierField() field {
	return field{
		Field: Field{
			Key: "secrets-by", Type: "disk or fw_cfg", Default: string(CarrierDisk), Example: string(CarrierFirmware),
			Doc: "How the secrets come into the guest. disk is a small disk, which vmctl's NixOS module or script in the guest empties: it carries 4 MiB. " +
				"fw_cfg needs nothing in the guest but systemd 252 or newer, which imports them before it starts its first unit; QEMU keeps them as long as it runs, " +
				"so that a guest which reboots by itself has them again. It carries 64 KiB, names of up to 28 characters, and nothing with persist: true.",
		},
		words:  []string{"carrier", "secrets-via", "secrets-carrier", "fw_cfg", "fwcfg"},
		schema: oneOf(CarrierDisk, CarrierFirmware),
		read:   func(p *parser, v value) { readWord(p, v, &p.m.SecretsBy, CarrierDisk, CarrierFirmware) },
	}
}

// carried checks that the secrets can travel as they are to.
func (p *parser) carried() {
	if p.m.SecretsBy != CarrierFirmware {
		return
	}
	for _, s := range p.m.Secrets {
		at := entryPath("secrets", s.Name)
		switch {
		case len(s.Name) > firmwareName:
			p.add(p.keys[at], at, fmt.Sprintf("the name of a secret that goes by fw_cfg has at most %d characters, and this one has %d", firmwareName, len(s.Name)),
				"shorten it, or write secrets-by: disk")
		case s.Persist:
			p.add(p.keys[at+".persist"], at+".persist", "a secret that goes by fw_cfg cannot be kept in the guest", "take persist out, or write secrets-by: disk")
		case s.Name == TmpfilesCredential && p.m.Identity:
			p.add(p.keys[at], at, "identity: true sends the machine's ssh host key under this name", "rename the secret, or write secrets-by: disk")
		}
	}
}

// carrierRule is carried for the schema.
func carrierRule() *jsonschema.Schema {
	rule := &jsonschema.Schema{
		If: property("secrets-by", &jsonschema.Schema{Const: CarrierFirmware}),
		Then: property("secrets", &jsonschema.Schema{
			PropertyNames:        &jsonschema.Schema{MaxLength: count(uint64(firmwareName))},
			AdditionalProperties: property("persist", &jsonschema.Schema{Const: false}),
		}),
	}
	rule.If.Required = []string{"secrets-by"}
	return rule
}
