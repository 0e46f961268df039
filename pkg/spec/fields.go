package spec

// Limits and defaults of values.
const (
	defaultMemory = 1 * GiB
	minMemory     = 16 * MiB
	maxMemory     = 16 * TiB
	defaultCPUs   = 2
	// More need an IOMMU with extended interrupt mode, which vmctl does not set up.
	maxCPUs = 255
	minDisk = 1 * MiB
	maxDisk = 1024 * TiB
	// Disks consist of sectors.
	diskUnit = 512 * Byte
	// libvirt counts memory in KiB.
	memoryUnit = KiB
	maxPorts   = 256
	portLength = 80
)

// fields are the keys of a machine definition.
func fields() fieldTable {
	return fieldTable{
		{
			Field: Field{
				Key: "image", Type: "flake, file, URL or known image", Default: "images/NAME", Example: "images/example",
				Doc: "Where the bootable disk comes from: a directory with a flake (images/example, images/example#attr), " +
					"a flake elsewhere (github:owner/repo#attr), a disk image file (./disk.qcow2; raw, vmdk, vhdx, vdi and vhd too, and packed with " +
					"gz, xz, zst or bz2), one from the web (https://…, with sha256 or checksums), or a publisher's cloud image " +
					"(debian:12; vmctl image list --known shows them). Paths are relative to the project.",
			},
			words:  []string{"source", "flake", "template", "os"},
			schema: text(`^[^\s#$~-][^\s]*$`, imageLength), read: readImage,
		},
		sha256Field(),
		checksumsField(),
		{
			Field: Field{
				Key: "memory", Type: "size", Default: defaultMemory.Exact(), Example: "1536MiB",
				Doc: "How much RAM the guest has, with a unit: GiB is 1024³ bytes and GB is 1000³.",
			},
			words:  []string{"ram", "mem", "maxmemory"},
			schema: text(sizePattern, sizeLength), read: readMemory,
		},
		{
			Field: Field{
				Key: "cpus", Type: "number", Default: "2", Example: "2",
				Doc: "How many virtual CPUs the guest has.",
			},
			words:  []string{"cores", "vcpu", "vcpus", "processors"},
			schema: number(1, maxCPUs), read: readCPUs,
		},
		{
			Field: Field{
				Key: "disk", Type: "size", Default: "the image's own size", Example: "10GiB",
				Doc: "The size of the root disk. Growing it needs no new image; it cannot shrink.",
			},
			words:  []string{"disksize", "disk-size", "size", "storage", "disks"},
			schema: text(sizePattern, sizeLength), read: readDisk,
		},
		volumesField(),
		secretsField(),
		carrierField(),
		{
			Field: Field{
				Key: "identity", Type: "true or false", Default: "false", Example: "true",
				Doc: "Give the machine an ssh host key that vmctl makes and keeps, encrypted, on the client, and hands over at each boot. " +
					"vmctl key prints its public half and the age recipient, so that sops-nix and agenix can encrypt to the machine before it first boots.",
			},
			words:  []string{"host-key", "hostkey", "ssh-host-key", "age-key", "key"},
			schema: truth(), read: func(p *parser, v value) { readBool(p, v, &p.m.Identity) },
		},
		sharesField(),
		{
			Field: Field{
				Key: "accel", Type: "auto, kvm or tcg", Default: string(AccelAuto), Example: "kvm",
				Doc: "How the guest's CPU is run: kvm needs the host's hardware support, tcg is software emulation and slow, " +
					"auto takes KVM where it works.",
			},
			words:  []string{"acceleration", "accelerator", "kvm", "virt-type"},
			schema: oneOf(AccelAuto, AccelKVM, AccelTCG), read: readAccel,
		},
		{
			Field: Field{
				Key: "firmware", Type: "bios or efi", Default: string(FirmwareBIOS), Example: "efi",
				Doc: "What boots the guest: bios is SeaBIOS, efi is UEFI (OVMF).",
			},
			words:  []string{"boot", "bios", "uefi", "efi", "loader"},
			schema: oneOf(FirmwareBIOS, FirmwareEFI), read: readFirmware,
		},
		{
			Field: Field{
				Key: "secure-boot", Type: "true or false", Default: "false", Example: "true",
				Doc: "Boot only what is signed with enrolled keys; needs firmware: efi.",
			},
			schema: truth(), read: readSecureBoot,
		},
		tpmField(),
		cpuField(),
		hugepagesField(),
		watchdogField(),
		graphicsField(),
		devicesField(),
		{
			Field: Field{
				Key: "network", Type: "none, user or a libvirt network",
				Default: "user on a session connection or with ports, else the host's network called default", Example: "user",
				Doc: "What the guest's network card is connected to: none is no card, user is a private network behind the host " +
					"that needs no permissions, and anything else is the name of a network on the host.",
			},
			words:  []string{"net", "nic", "bridge", "networks"},
			schema: text(networkPattern, networkLength), read: readNetwork,
		},
		{
			Field: Field{
				Key: "ports", Type: "list of [ADDRESS:]HOST:GUEST[/udp]", Default: "none", Example: `["2222:22"]`,
				Doc: "Ports of the host that lead to ports of the guest, on user networking only. Without an address " +
					"only the host itself can connect (127.0.0.1); 0.0.0.0 lets everybody in. auto for HOST takes a free port, which stays the machine's: " +
					"vmctl info and vmctl ip show it.",
			},
			words:  []string{"forward", "forwards", "hostfwd", "publish", "portforwards"},
			schema: list(text(portPattern, portLength), maxPorts), read: readPorts,
		},
		interfacesField(),
		cloudInitField(),
		systemdField(),
		readyField(),
		sshField(),
		{
			Field: Field{
				Key: "autostart", Type: "true or false", Default: "false", Example: "true",
				Doc: "Start the machine when the host boots.",
			},
			words:  []string{"onboot", "start"},
			schema: truth(), read: readAutostart,
		},
		{
			Field: Field{
				Key: "build-on", Type: "here or host", Default: string(BuildHere), Example: "host",
				Doc: "Where nix builds the image: here, or on the host that runs the machine, in whose nix store it stays then. A host that has no nix, or that ssh does not reach, " +
					"is sent what was built here.",
			},
			words:  []string{"build", "builder", "builders", "remote-build"},
			schema: oneOf(BuildHere, BuildHost), read: readBuildOn,
		},
		{
			Field: Field{
				Key: "host", Type: "libvirt URI or the name of a host", Default: "what --connect or LIBVIRT_DEFAULT_URI says", Example: "qemu+ssh://me@server.example.org/system",
				Doc: "The libvirt host that runs the machine: a URI, or a name that vmctl host add gave it. Parameters that would run programs or weaken the check of the " +
					"server's identity are refused here.",
			},
			words:  []string{"uri", "connect", "connection", "hypervisor", "server"},
			schema: text(`^(`+hostNamePattern+`|(qemu|test)(\+(unix|ssh|libssh|libssh2|tcp|tls))?://[^\s#%]*)$`, 512), read: readHost,
		},
		xmlField(),
	}
}
