package engine

import (
	"context"

	"vmctl/pkg/spec"
)

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
	// EFI says that the persistent definition has UEFI firmware; Vars is the file of that one's variables,
	// empty where libvirt chooses it at each start.
	EFI  bool
	Vars string
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
	// Autostart is read with autostart only.
	Autostart bool

	// What follows is of domains that are Ours, and read with records only.

	// Managed says that the domain carries vmctl's metadata.
	Managed bool
	// Record is set when Managed.
	Record *Record
	// Memory and CPUs of the persistent definition.
	Memory spec.Size
	CPUs   int
}

// Ours reports whether the domain has the UUID that vmctl gives a machine of its name.
// Domains that have another are not managed. That costs no call to the host.
func (d DomainSummary) Ours() bool { return d.UUID == UUID(d.Name) }

// Reading says what a list reads of domains beside their names and states. Each costs more calls.
type Reading uint8

// What can be read.
const (
	// WithRecords costs a call more for each domain that is Ours.
	WithRecords Reading = 1 << iota
	// WithAutostart costs one call more.
	WithAutostart

	// Briefly is what the host tells of all domains at once.
	Briefly Reading = 0
)

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
	// ListDomains reads all domains in a fixed number of calls, and with records in one
	// more for each domain that is Ours.
	ListDomains(ctx context.Context, reading Reading) ([]DomainSummary, error)
	Domain(ctx context.Context, name string) (*Domain, error)
	// DefineDomain creates the persistent definition or replaces the one with the
	// same UUID (virDomainDefineXMLFlags with VALIDATE).
	DefineDomain(ctx context.Context, d Definition) error
	// StartDomain boots; paused stops before the guest's first instruction.
	StartDomain(ctx context.Context, name string, paused bool) error
	// StartDomainWith boots with files of the host in fw_cfg, which QEMU has read when the call
	// returns: they may go then. The persistent definition does not name them.
	StartDomainWith(ctx context.Context, name string, paused bool, files []FirmwareFile) error
	// ResumeDomain lets held CPUs run; those that run already may do so.
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
	// NoteApplied notes in the metadata, of the definition and of what runs, to which
	// systems the guest was brought.
	NoteApplied(ctx context.Context, name string, all []Applied) error
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
