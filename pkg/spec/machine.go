// Package spec is the machine definition: what a person writes in
// domain/NAME.yaml, parsed strictly, with every error at its place.
//
// It is pure: it reads no file, asks no host and starts no process.
package spec

import "net/netip"

// Machine is one parsed and validated definition, defaults applied.
type Machine struct {
	// Name is the machine's name: the definition's file name without .yaml, and
	// the libvirt domain's name.
	Name string
	// Image is where the bootable disk comes from.
	Image Image
	// Memory is the guest's RAM.
	Memory Size
	// CPUs is the number of virtual CPUs.
	CPUs int
	// Disk is the size of the root disk; 0 is the image's own virtual size.
	Disk Size
	// Volumes are the data volumes, sorted by name.
	Volumes []Volume
	// Secrets are what is handed over to the guest at each boot, sorted by name.
	Secrets []Secret
	// SecretsBy is how they come into the guest; empty is CarrierDisk.
	SecretsBy Carrier
	// Identity says that vmctl makes the machine's ssh host key and keeps it.
	Identity bool
	// Accel says how the guest's CPU is run.
	Accel Accel
	// Firmware is what boots the guest.
	Firmware Firmware
	// SecureBoot asks for UEFI with enrolled keys; only with FirmwareEFI.
	SecureBoot bool
	// Network is NetworkNone, NetworkUser, the name of a libvirt network, or empty:
	// then the connection decides (see ResolveNetwork).
	Network string
	// Ports are forwards from the host to the guest; user networking only.
	Ports []Port
	// Interfaces are the network cards, in the guest's order; empty for the one that
	// Network says.
	Interfaces []Interface
	// TPM gives the guest a TPM 2.0 of its own.
	TPM bool
	// Watchdog is empty or WatchdogNone for none.
	Watchdog Watchdog
	// CPU is what the guest's CPU looks like.
	CPU CPU
	// Hugepages is the size of the host's pages that the guest's memory consists of; 0
	// is ordinary ones.
	Hugepages Size
	// Graphics is empty or GraphicsNone for none.
	Graphics Graphics
	// Devices are the host's.
	Devices HostDevices
	// Shares are directories of the host, sorted by tag.
	Shares []Share
	// CloudInit is what cloud-init in the guest is told.
	CloudInit CloudInit
	// Systemd is what systemd in the guest is told.
	Systemd Systemd
	// Ready says when the guest is ready; the zero value leaves it to the guest.
	Ready Ready
	// XML is put into the domain's.
	XML []Fragment
	// SSH is how a person logs in.
	SSH SSH
	// BuildOn says where nix builds the image; empty is BuildHere.
	BuildOn BuildOn
	// Autostart starts the machine when the host boots.
	Autostart bool
	// Host is a libvirt connection URI, or empty for the command line's choice.
	Host string
}

// BuildOn is a machine that has nix.
type BuildOn string

// The places: this machine, and the host that runs the guest.
const (
	BuildHere BuildOn = "here"
	BuildHost BuildOn = "host"
)

// Accel is how the guest's CPU is run.
type Accel string

// The accelerators. AccelAuto takes KVM where it works, else software emulation.
const (
	AccelAuto Accel = "auto"
	AccelKVM  Accel = "kvm"
	AccelTCG  Accel = "tcg"
)

// Firmware is what boots the guest.
type Firmware string

// The firmwares: SeaBIOS and UEFI (OVMF, AAVMF).
const (
	FirmwareBIOS Firmware = "bios"
	FirmwareEFI  Firmware = "efi"
)

// Networks that are not the name of a libvirt network.
const (
	NetworkNone = "none"
	NetworkUser = "user"
	// NetworkDefault is the network that libvirt ships with.
	NetworkDefault = "default"
)

// ResolveNetwork is the network the machine gets on a connection: what the
// definition names; else user networking when ports are forwarded or the
// connection is an unprivileged session (which has no networks of its own); else
// libvirt's "default".
func (m *Machine) ResolveNetwork(session bool) string {
	switch {
	case m.Network != "":
		return m.Network
	case len(m.Interfaces) > 0:
		return networkOf(m.Interfaces)
	case session || len(m.Ports) > 0:
		return NetworkUser
	default:
		return NetworkDefault
	}
}

// ImageKind says how an image is got.
type ImageKind string

// The kinds of image.
const (
	// ImageFlake is built by nix.
	ImageFlake ImageKind = "flake"
	// ImageFile is a disk image file on the client.
	ImageFile ImageKind = "file"
	// ImageURL is downloaded over https, or over http with a checksum beside it.
	ImageURL ImageKind = "url"
	// ImageKnown is a publisher's cloud image by a short name, such as debian:12.
	ImageKnown ImageKind = "known"
)

// Image is the parsed value of the image key, with the keys that belong to it.
type Image struct {
	Kind ImageKind
	// Ref is a flake reference without the fragment ("images/example",
	// "github:owner/repo"), a file's path, a URL, or a short name. Relative paths are
	// relative to the project.
	Ref string
	// Attr is the fragment after #, or empty.
	Attr string
	// SHA256 is what the file must be, in hexadecimal digits; empty when nothing was said.
	// It is that of the file as it was named: packed, if it is.
	SHA256 string
	// Checksums is the https URL of the publisher's file of checksums, or empty.
	Checksums string
}

// String is the image as a person would write it.
func (i Image) String() string {
	if i.Attr == "" {
		return i.Ref
	}
	return i.Ref + "#" + i.Attr
}

// Port forwards a port of the host to a port of the guest.
type Port struct {
	// Address is the host address listened on; 127.0.0.1 when the definition names none.
	Address netip.Addr
	// Host and Guest are the port numbers. Host is 0 for one that is not chosen yet.
	Host, Guest uint16
	// Protocol is "tcp" or "udp".
	Protocol string
	// Auto says that vmctl chooses Host.
	Auto bool
}
