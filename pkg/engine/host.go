package engine

import (
	"context"
	"io"
	"net/netip"
	"time"

	"vmctl/pkg/spec"
)

// Host is a connection to one libvirt host, cut into the rooms the engine needs.
// A method that finds nothing returns an error of kind fault.NotFound; a lost
// connection is fault.Unreachable. Every method is one libvirt call, or the few
// that reading one object takes.
type Host struct {
	// URI is the connection's URI as libvirt normalised it.
	URI string
	// Local says that client and host are the same machine, sharing one file system.
	Local bool
	// Session says that the connection is an unprivileged one.
	Session bool

	Inspector Inspector
	Domains   Domains
	Pools     Pools
	Volumes   Volumes
	Networks  Networks
	Consoles  Consoles
	Screens   Screens
	Events    Events
	Secrets   Secrets
	Agents    Agents
}

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
	// Libvirt and Hypervisor are versions, such as 9.0.0 and "QEMU 7.2.0".
	Libvirt, Hypervisor string
	// Hostname is the host's own name for itself.
	Hostname string
}

// Pages are memory pages of one size, and how many the host has set aside.
type Pages struct {
	Size  spec.Size
	Total uint64
}

// Inspector reads what the host can do.
type Inspector interface {
	Capabilities(ctx context.Context) (Capabilities, error)
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

// State is a domain's state.
type State string

// The states, in virsh's words.
const (
	StateRunning  State = "running"
	StatePaused   State = "paused"
	StateShutOff  State = "shut off"
	StateShutdown State = "in shutdown"
	StateCrashed  State = "crashed"
	StateOther    State = "other"
)

// Active reports whether a QEMU process exists.
func (s State) Active() bool { return s != StateShutOff && s != StateCrashed }

// Domain is one observed domain.
type Domain struct {
	Name, UUID string
	State      State
	Autostart  bool
	// Transient says that the domain runs without a persistent definition, as after
	// virsh undefine, and vanishes when it stops; what runs is then read as its definition.
	Transient bool
	// Record is vmctl's metadata of the persistent definition; nil when foreign.
	Record *Record
	// Memory and CPUs of the persistent definition.
	Memory spec.Size
	CPUs   int
	// Live is what the running guest has; nil when it is off.
	Live *Live
	// Disks are the files of all disks of the persistent definition; Attached are those
	// of them that have a serial.
	Disks    []string
	Attached []Disk
	// ManagedSave says that a saved memory image exists.
	ManagedSave bool
}

// Live is what a running guest has now.
type Live struct {
	// Record is the metadata with which the guest was started (updated by live changes).
	Record *Record
	// Memory is the balloon's present size, MaxMemory the most it can take without a restart.
	Memory, MaxMemory spec.Size
	// CPUs are online, MaxCPUs the most that can be without a restart.
	CPUs, MaxCPUs int
	// Attached are the disks with a serial that the guest has now.
	Attached []Disk
}

// DomainSummary is a row of a list.
type DomainSummary struct {
	Name, UUID string
	State      State
	Autostart  bool
	// Managed says that the domain carries vmctl's metadata.
	Managed bool
	// Record is set when Managed.
	Record *Record
	Memory spec.Size
	CPUs   int
}

// Definition is everything the host needs to define a domain.
type Definition struct {
	UUID string
	// Machine has its network resolved and its accelerator decided (never auto).
	Machine spec.Machine
	// Arch is the guest's architecture.
	Arch string
	// Root is the path of the root disk on the host, always qcow2.
	Root string
	// Base is the chain below the root disk.
	Base Base
	// Disks come after the root disk, in this order.
	Disks []Disk
	// Shares are directories of the host, with how the guest gets them.
	Shares []Share
	// Mounts are lines of fstab(5) that the guest is told of.
	Mounts []string
	// Passt says that user networking is done by passt, and not by QEMU itself.
	Passt bool
	// PCI are the addresses of the host's devices that the guest gets.
	PCI []string
	// Video is the graphics card's model.
	Video string
	// Log is the path on the host that takes what the serial console prints.
	Log string
	// Vars is the path on the host of the UEFI firmware's variables, among them the keys
	// of Secure Boot.
	Vars string
	// Record goes into the metadata.
	Record Record
}

// Base is the image a root disk lies on, as the host sees it.
type Base struct {
	// Path on the host.
	Path string
	// Format is qcow2 or raw.
	Format string
	// Size is the virtual size.
	Size spec.Size
}

// Share is a directory of the host with how the guest gets it.
type Share struct {
	spec.Share
	Driver spec.ShareDriver
}

// ShutdownMode says by what a guest is asked to power off.
type ShutdownMode string

// The ways, each one libvirt flag.
const (
	ShutdownAgent ShutdownMode = "agent"
	ShutdownACPI  ShutdownMode = "acpi"
)

// Domains reads and changes domains. Names, not handles: nothing is kept open.
type Domains interface {
	// ListDomains reads all domains in a fixed number of calls, plus one for each
	// managed one's metadata.
	ListDomains(ctx context.Context) ([]DomainSummary, error)
	Domain(ctx context.Context, name string) (*Domain, error)
	// DefineDomain creates the persistent definition or replaces the one with the
	// same UUID (virDomainDefineXMLFlags with VALIDATE).
	DefineDomain(ctx context.Context, d Definition) error
	// StartDomain boots; paused stops before the guest's first instruction.
	StartDomain(ctx context.Context, name string, paused bool) error
	ResumeDomain(ctx context.Context, name string) error
	// ShutdownDomain asks the guest; it does not wait.
	ShutdownDomain(ctx context.Context, name string, mode ShutdownMode) error
	// DestroyDomain pulls the plug.
	DestroyDomain(ctx context.Context, name string) error
	// UndefineDomain removes the definition with its NVRAM, managed save, snapshot and
	// checkpoint metadata and TPM state.
	UndefineDomain(ctx context.Context, name string) error
	SetAutostart(ctx context.Context, name string, on bool) error
	// SetLiveMemory moves the balloon and notes the size in the live metadata.
	SetLiveMemory(ctx context.Context, name string, size spec.Size) error
	// SetLiveCPUs brings CPUs online or takes them off.
	SetLiveCPUs(ctx context.Context, name string, n int) error
	// NoteReady notes in the running domain's metadata that its guest is ready.
	NoteReady(ctx context.Context, name string) error
	// ResizeLiveDisk grows the disk of a running guest, which is told.
	ResizeLiveDisk(ctx context.Context, name, path string, size spec.Size) error
	// AttachDisk gives a disk to the persistent definition, and to the guest if it runs,
	// unless they have one with its serial. It is refused (fault.Refused) while the disk is
	// in use elsewhere, and when the guest has no room for another.
	AttachDisk(ctx context.Context, name string, disk Disk) error
	// LendDisk gives a disk to the running guest alone, unless it has one with its serial: no
	// definition names it, and it is gone when the guest stops or gives it back.
	LendDisk(ctx context.Context, name string, disk Disk) error
	// DetachDisk takes the disk with a serial away from the guest, if it runs, and from the
	// persistent definition. The guest has to let go of it: when it does not within a few
	// seconds, that is fault.Timeout. NotFound when neither has it.
	DetachDisk(ctx context.Context, name, serial string) error
	// DiskUsers are the disks of all domains, live and persistent ones.
	DiskUsers(ctx context.Context) ([]DiskUser, error)
	// DomainXML is the XML as libvirt has it; inactive asks for the persistent one.
	DomainXML(ctx context.Context, name string, inactive bool) (string, error)
}

// PoolState is where a storage pool stands.
type PoolState string

// The states of a pool.
const (
	PoolAbsent   PoolState = "absent"
	PoolInactive PoolState = "inactive"
	PoolActive   PoolState = "active"
)

// Pool is vmctl's storage pool on the host.
type Pool struct {
	Name string
	// Target is the directory on the host.
	Target string
	State  PoolState
	// Autostart is false for a pool that would not come back when the host reboots.
	Autostart bool
	// Available is the free space in bytes; 0 when the pool is not active.
	Available spec.Size
}

// Pools reads and makes vmctl's storage pool: a directory pool named "vmctl".
type Pools interface {
	// Pool never returns NotFound: an absent pool has State PoolAbsent and the
	// Target it would get.
	Pool(ctx context.Context) (Pool, error)
	DefinePool(ctx context.Context) error
	// BuildPool makes the directory.
	BuildPool(ctx context.Context) error
	StartPool(ctx context.Context) error
	AutostartPool(ctx context.Context) error
}

// Volume is a file in the pool.
type Volume struct {
	Name, Path, Format string
	// Capacity is the virtual size, Allocation what it takes on the host's disk.
	Capacity, Allocation spec.Size
	// Backing is the path of the image it lies on, or empty.
	Backing string
	// Modified is when the file was last written to, by the host's clock; zero when the
	// host does not say.
	Modified time.Time
	// Block says that it is a block device, as in a pool of logical volumes.
	Block bool
	// Encrypted says that it is a LUKS container.
	Encrypted bool
}

// Volumes reads and changes volumes of the pool.
type Volumes interface {
	Volume(ctx context.Context, name string) (*Volume, error)
	// ListVolumes gives those whose name begins with the prefix, after asking the
	// host to look at the directory again.
	ListVolumes(ctx context.Context, prefix string) ([]Volume, error)
	// CreateOverlay makes a qcow2 volume that lies on a base.
	CreateOverlay(ctx context.Context, name string, size spec.Size, base Base) error
	// CreateVolume makes an empty volume of a format.
	CreateVolume(ctx context.Context, name, format string, size spec.Size) error
	// CreateEncrypted makes an empty volume of a format in a LUKS container, whose key is
	// the value of a secret.
	CreateEncrypted(ctx context.Context, name, format string, size spec.Size, secret string) error
	// VolumeIn reads a volume of any pool of the host. It is refused while the pool is not active.
	VolumeIn(ctx context.Context, pool, name string) (*Volume, error)
	// Upload fills a volume from the start, zeros included: what was there is gone.
	// progress is called with bytes sent.
	Upload(ctx context.Context, name string, src io.Reader, size int64, progress func(sent int64)) error
	// UploadNew is Upload for a volume that was made a moment ago and that nothing was
	// written to: long runs of zeros are not sent, and take no room on the host.
	UploadNew(ctx context.Context, name string, src io.Reader, size int64, progress func(sent int64)) error
	ResizeVolume(ctx context.Context, name string, size spec.Size) error
	DeleteVolume(ctx context.Context, name string) error
	// ReadVolume streams the raw bytes of a volume's file from an offset to its end.
	ReadVolume(ctx context.Context, name string, offset int64) (io.ReadCloser, error)
}

// Network is a libvirt network.
type Network struct {
	Name   string
	Active bool
}

// Lease is an address that the host's DHCP server gave out.
type Lease struct {
	MAC, Address, Hostname string
}

// Reservation is an address that a DHCP server keeps for a card.
type Reservation struct {
	// MAC is the card's, in small letters.
	MAC     string
	Address netip.Addr
}

// DHCP is what a network's DHCP server gives out.
type DHCP struct {
	// Subnets are those that it serves; none when the network has no such server.
	Subnets []netip.Prefix
	// Reserved are the addresses that it keeps.
	Reserved []Reservation
}

// Networks reads and starts networks.
type Networks interface {
	Network(ctx context.Context, name string) (Network, error)
	ListNetworks(ctx context.Context) ([]Network, error)
	StartNetwork(ctx context.Context, name string) error
	// DHCP reads what a network's DHCP server gives out.
	DHCP(ctx context.Context, network string) (DHCP, error)
	// Reserve makes the DHCP server keep an address for a card, from now on (virNetworkUpdate,
	// also of the network that is active).
	Reserve(ctx context.Context, network string, r Reservation) error
	// Release undoes Reserve.
	Release(ctx context.Context, network string, r Reservation) error
	// Addresses are the guest's addresses from the agent or, without one, the DHCP leases.
	Addresses(ctx context.Context, domain string) ([]string, error)
}

// Consoles opens serial consoles.
type Consoles interface {
	// OpenConsole attaches to the first serial console. It is refused (fault.Refused)
	// when somebody else is attached, unless force throws them out; their Read is then refused,
	// too. Read returns io.EOF when the domain stops.
	OpenConsole(ctx context.Context, domain string, force bool) (io.ReadWriteCloser, error)
	// OpenChannel attaches to the virtio port of a name. NotFound when the running domain
	// has none; fault.Refused while somebody else is attached. Read returns io.EOF when the
	// domain stops.
	OpenChannel(ctx context.Context, domain, channel string) (io.ReadWriteCloser, error)
}

// Screen is where a guest's screen is served, seen from the host itself.
type Screen struct {
	// Kind is vnc or spice.
	Kind    string
	Address string
	Port    uint16
}

// Screens shows what guests with a graphics card draw.
type Screens interface {
	// Screen says where a running guest's screen is served; NotFound when it has none.
	Screen(ctx context.Context, domain string) (Screen, error)
	// Screenshot is a picture of the first screen, in the format of the host's choice, and
	// the format's MIME type.
	Screenshot(ctx context.Context, domain string) (mime string, picture io.ReadCloser, err error)
}

// EventKind says what happened to a domain.
type EventKind string

// The events the engine waits for.
const (
	EventStarted      EventKind = "started"
	EventStopped      EventKind = "stopped"
	EventCrashed      EventKind = "crashed"
	EventAgent        EventKind = "agent connected"
	EventDisk         EventKind = "disk let go"
	EventUndefined    EventKind = "undefined"
	EventOther        EventKind = "other"
	EventDisconnected EventKind = "connection lost"
)

// Event is one thing that happened to one domain.
type Event struct {
	Kind   EventKind
	Domain string
}

// Events tells what happens to a domain.
type Events interface {
	// Watch begins at once and ends with ctx, when the channel is closed. An empty
	// name watches all domains.
	Watch(ctx context.Context, domain string) (<-chan Event, error)
	// AgentConnected asks whether the guest agent's channel is open now.
	AgentConnected(ctx context.Context, domain string) (bool, error)
}
