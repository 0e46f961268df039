package engine

import (
	"context"

	"vmctl/pkg/spec"
)

// Capabilities is what the host can do, read from the host and never guessed.
type Capabilities struct {
	// Arch is the host's architecture in libvirt's words, such as x86_64.
	Arch string
	// KVM says whether guests can really run under KVM.
	KVM bool
	// NoKVM is one sentence that says why not, when KVM is false.
	NoKVM string
	// EFI and SecureBoot say whether firmware for them is installed.
	EFI, SecureBoot bool
	// TPM says that the host can emulate a TPM 2.0.
	TPM bool
	// Virtiofs and NinePFS say how directories of the host can be shared; NoVirtiofs is
	// one sentence that says why not by virtiofs.
	Virtiofs, NinePFS bool
	NoVirtiofs        string
	// Passt says that user networking can be done by passt.
	Passt bool
	// Graphics and Video are the kinds of screen and the models of graphics cards.
	Graphics, Video []string
	// CPUModels are the names of CPUs that the host can give a guest.
	CPUModels []string
	// Pages are the host's huge pages.
	Pages []Pages
	// ID is a UUID that no other host has; empty where that cannot be known.
	ID string
}

// Versions are those of the programs on a host, such as 9.0.0 and "QEMU 7.2.0".
type Versions struct{ Libvirt, Hypervisor string }

// Pages are memory pages of one size, and how many the host has set aside.
type Pages struct {
	Size  spec.Size
	Total uint64
}

// Inspector reads what the host can do.
type Inspector interface {
	Capabilities(ctx context.Context) (Capabilities, error)
	Versions(ctx context.Context) (Versions, error)
	// Devices lists what the host has that a guest could get or be connected to.
	Devices(ctx context.Context) ([]Device, error)
}

// DeviceKind is what a device of the host is.
type DeviceKind string

// The kinds of device.
const (
	DevicePCI DeviceKind = "pci"
	DeviceUSB DeviceKind = "usb"
	// DeviceNet is a network card or a bridge.
	DeviceNet DeviceKind = "net"
)

// Device is one device of the host.
type Device struct {
	Kind DeviceKind
	// Address is a PCI device's address, such as 0000:01:00.0, or a network card's name.
	Address string
	// Numbers are VENDOR:PRODUCT as lspci and lsusb show them; empty for network cards.
	Numbers string
	// Name is the device in words.
	Name string
	// Isolated says that a PCI device is behind an IOMMU, without which no guest gets it.
	Isolated bool
}
