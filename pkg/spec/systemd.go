package spec

// Systemd is what systemd in the guest is told through SMBIOS, where everybody on the
// host can read it.
type Systemd struct {
	// Use says whether it is told anything.
	Use bool
	// Hostname is the guest's; empty is the machine's name.
	Hostname string
	// Keys are public ssh keys, or files with them; KeysSet says that they were given, even
	// none. Without them they are the client user's own.
	Keys    []string
	KeysSet bool
}

func systemdField() field {
	return single(field{
		Field: Field{
			Key: "systemd", Type: "mapping, true or false", Default: "false",
			Example: `{"ssh-keys": ["keys/me.pub"]}`,
			Doc: "What systemd (252 and newer) in the guest is told by the firmware's tables (SMBIOS), without cloud-init and without a network: " +
				"who may log in as root, and the host name (254 and newer, where /etc/hostname names none). Whoever may look at the host can read it: nothing in it is secret. " +
				"true takes the defaults of all its keys.",
		},
		words: []string{"smbios", "credential-strings", "authorized-keys"},
	}, record[Systemd]{
		what: "systemd", example: "systemd: {hostname: web}",
		fields: func(t *Systemd) fieldTable {
			return fieldTable{
				hostnameField("The guest's host name (system.hostname).", &t.Hostname),
				publicKeysField("Public keys that may log in as root (ssh.authorized_keys.root), unless the guest has its own; older NixOS does not read them. [] is none.", &t.Keys, &t.KeysSet),
			}
		},
		fresh:       func(string) Systemd { return Systemd{Use: true} },
		short:       func(p *parser, v value, t *Systemd) { readBool(p, v, &t.Use) },
		shortSchema: truth(),
	}, func(p *parser, s Systemd) { p.m.Systemd = s })
}
