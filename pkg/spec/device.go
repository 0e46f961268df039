package spec

import "fmt"

// Watchdog is what happens when the guest stops feeding its watchdog.
type Watchdog string

// The watchdog's actions; WatchdogNone gives the guest no watchdog.
const (
	WatchdogNone     Watchdog = "none"
	WatchdogReset    Watchdog = "reset"
	WatchdogPoweroff Watchdog = "poweroff"
)

// Graphics is how the guest's screen is shown.
type Graphics string

// The kinds of screen; GraphicsNone gives the guest no graphics card.
const (
	GraphicsNone  Graphics = "none"
	GraphicsVNC   Graphics = "vnc"
	GraphicsSpice Graphics = "spice"
)

// CPU models that are not the name of one.
const (
	// CPUHost is all that the host's CPU has; under software emulation it is CPUMaximum.
	CPUHost = "host"
	// CPUMaximum is all that the host can give a guest.
	CPUMaximum = "maximum"
)

// CPU is what the guest's CPU looks like.
type CPU struct {
	// Model is CPUHost, CPUMaximum or a name that libvirt knows; empty is CPUHost.
	Model string
	// Topology arranges the CPUs; the zero one leaves that to the hypervisor.
	Topology Topology
}

// Topology is how virtual CPUs are arranged. The product is the machine's number of CPUs.
type Topology struct{ Sockets, Cores, Threads int }

// CPUs is how many CPUs such a topology has.
func (t Topology) CPUs() int { return t.Sockets * t.Cores * t.Threads }

// String is the topology for people.
func (t Topology) String() string {
	return fmt.Sprintf("%d sockets × %d cores × %d threads", t.Sockets, t.Cores, t.Threads)
}

// HostDevices are devices of the host that the guest gets for itself.
type HostDevices struct {
	// PCI are addresses (0000:01:00.0) or VENDOR:DEVICE numbers (10de:1b80).
	PCI []string
	// USB are VENDOR:PRODUCT numbers (046d:c52b).
	USB []string
}

// Share is a directory of the host that the guest can mount.
type Share struct {
	// Tag is the name under which the guest finds it.
	Tag string
	// Source is the directory; relative to the project until it has been looked up.
	Source string
	// Target is where the guest mounts it.
	Target string
	// ReadOnly keeps the guest from changing it.
	ReadOnly bool
}

// Fragment is XML that is put into the domain's as it is.
type Fragment struct {
	// At is the element that gets it, as a path below <domain>: "devices",
	// "devices/interface[2]"; empty is <domain> itself.
	At string
	// Add is one or more elements.
	Add string
}
