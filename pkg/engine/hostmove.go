package engine

import "context"

// Portable is a domain's definition in the form in which another host takes it.
type Portable struct {
	// Text is the definition, in the host's own words.
	Text string
	// KVM says that the guest runs under KVM, else it is emulated.
	KVM bool
	// HostCPU says that the guest has the host's own CPU, or what comes nearest.
	HostCPU bool
	// Snapshots is how many snapshots libvirt keeps of the domain.
	Snapshots int
}

// Relocation is what differs between a machine's definitions on two hosts.
type Relocation struct {
	// Paths are the files that the machine has on the one host, and what they are called
	// on the other.
	Paths map[string]string
}

// Passage is how a running guest gets to another host. The bytes go from host to host and
// not through the client.
type Passage struct {
	Relocation
	// Address is the other host's as the first one reaches it, or empty for the name that it
	// has for itself.
	Address string
	// TLS encrypts what goes, memory and disks, by certificates that QEMU has on both hosts
	// (VIR_MIGRATE_TLS).
	TLS bool
}

// MoveProgress is how far a running guest has come on its way, in bytes. Total grows when the
// guest writes to what was sent already.
type MoveProgress struct{ Done, Total int64 }

// Moves is what it takes to move a machine from one host to another, beyond what it takes
// to make one.
type Moves interface {
	// Portable reads a domain's persistent definition, with its secrets.
	Portable(ctx context.Context, name string) (Portable, error)
	// DefineMoved makes the persistent definition of a domain that another host has
	// defined: with the same UUID, and as a machine that boots here. A note that it is being
	// moved is left out.
	DefineMoved(ctx context.Context, name string, p Portable, r Relocation) error
	// NoteMove notes in the metadata of a domain's persistent definition that the domain is
	// being moved, and nil that it is not.
	NoteMove(ctx context.Context, name string, m *Moving) error
	// MoveLive moves a running guest with what it has written to its disks to another host,
	// where the disks have been made: empty, of the same sizes and on the same image. The guest then runs
	// there, with a persistent definition; here it is off, and still defined. Unless it was through,
	// the guest runs on here, and there is no definition there (VIR_MIGRATE_PERSIST_DEST).
	MoveLive(ctx context.Context, name string, to Moves, p Passage, report func(MoveProgress)) error
	// MovingLive says that a live move of the domain is under way, as libvirt's own is for a
	// while after its client was killed.
	MovingLive(ctx context.Context, name string) (bool, error)
	// CPU describes the host's CPU; RunsCPU says whether a guest of a host with such a CPU
	// finds all of it here.
	CPU(ctx context.Context) (string, error)
	RunsCPU(ctx context.Context, cpu string) (bool, error)
}
