package domainxml

import (
	"cmp"
	"encoding/base64"
	"strings"

	"libvirt.org/go/libvirtxml"
)

// credential begins an SMBIOS string that systemd in the guest takes as a credential;
// its value is base64. Whoever may look at the domain can read it. Source: systemd(1).
const credential = "io.systemd.credential.binary:"

// systemd tells the guest what is public about it: its name, and who may log in.
func systemd(c Config, d *libvirtxml.Domain) error {
	if !c.Machine.Systemd.Use {
		return nil
	}
	tell := func(name, value string) {
		oem(d, credential+name+"="+base64.StdEncoding.EncodeToString([]byte(value)))
	}
	tell("system.hostname", cmp.Or(c.Machine.Systemd.Hostname, c.Machine.Name))
	if keys := c.Machine.Systemd.Keys; len(keys) > 0 {
		tell("ssh.authorized_keys.root", strings.Join(keys, "\n")+"\n")
	}
	return nil
}
