package engine

import (
	"io/fs"
	"strings"

	"github.com/google/uuid"

	"vmctl/pkg/spec"
)

// RecordVersion is the metadata's version. A newer one on a domain is refused.
const RecordVersion = 1

// Rendering counts changes in how a definition becomes XML. A machine defined by
// an older rendering is defined anew by the next up.
const Rendering = 2

// readyNoted is the rendering since which it is noted that a guest is ready.
const readyNoted = 2

// Record is what vmctl writes into the metadata of its domains: who owns it and
// what it was made from. It is all the state there is; it holds no secret.
type Record struct {
	Version   int
	Rendering int
	// Vmctl is the version of the program that wrote it, for people.
	Vmctl string
	// Project is the directory, on the client, of the project that owns the machine.
	Project string
	// Image is Image.ID of what the root disk lies on; Source is how the definition named it.
	Image, Source string
	// Base is the path of the base image on the host.
	Base string
	// Root and Log are the names of the machine's volumes.
	Root, Log string
	// The definition, as declared.
	Memory     spec.Size
	CPUs       int
	Disk       spec.Size
	Accel      spec.Accel
	Firmware   spec.Firmware
	SecureBoot bool
	Network    string
	Ports      []spec.Port
	// Life counts the root disks that the domain has had; 0 is an older record's 1.
	Life int
	// Ready says that the guest has shown, since it was started, that it is ready. It is
	// noted in what runs alone, never in the definition.
	Ready bool
	// Media are those that are no secrets.
	Media   []MediumRecord
	Volumes []RecordVolume
	// Interfaces are the cards when the definition lists them.
	Interfaces []spec.Interface
	// Shares are directories of the host, with how the guest got them.
	Shares []Share
	// Settings are the other keys that were declared, in words by which a change shows.
	Settings []Setting
	// Secrets are the names of what the guest is handed at each boot.
	Secrets []string
	// Applied are the systems that the guest on this root disk was brought to without a new
	// image, the oldest first; it has the last one. Empty is that of the image.
	Applied []Applied
	// Moving is set while the machine is on its way to another host. It is noted in the
	// definition alone.
	Moving *Moving
}

// Moving says that a machine is on its way to another host.
type Moving struct {
	// To is that host's URI, as the client called it, and ID says which one that is: one URI
	// is not the same host for all clients.
	To, ID string
	// Deciding says that only the other host knows where the machine is: it is there as soon
	// as it is defined there. Before that it is here.
	Deciding bool
	// Running and Autostart say what the machine was here before it was stopped.
	Running, Autostart bool
}

// namespace makes the machines' UUIDs; it was drawn once and must never change.
var namespace = uuid.MustParse("5c5b1a3e-0a86-4b53-9d0e-7a1f3c2f6d90")

// UUID is the machine's UUID: a function of its name alone, so that two vmctl
// which create the same machine are told apart by libvirt itself.
func UUID(machine string) string {
	return uuid.NewSHA1(namespace, []byte(machine)).String()
}

// volumePrefix begins the names of a machine's volumes. The first group of the UUID says
// whose they are: nobody chooses such a name by chance.
func volumePrefix(machine string) string {
	mark, _, _ := strings.Cut(UUID(machine), "-")
	return machine + "." + mark + "."
}

// RootVolume is the name of the machine's root disk.
func RootVolume(machine string) string { return volumePrefix(machine) + "root.qcow2" }

// VarsVolume is the name of the file with the UEFI firmware's variables. They are made
// from the template of one build of the firmware: without a file of its own for each,
// Secure Boot would be switched on with no keys that it could check against.
func VarsVolume(machine string, secureBoot bool) string {
	if secureBoot {
		return volumePrefix(machine) + "secure-boot.vars"
	}
	return volumePrefix(machine) + "efi.vars"
}

// Image is a verified bootable disk on the client.
type Image struct {
	// ID is what the image is, in characters fit for a file name: "nix-<store hash>" or "sha256-<hex>".
	ID string
	// Source is how the definition named it.
	Source string
	// Path is the file on the client.
	Path string
	// Judged is how the file was when it was found to be harmless; nil where nobody can change it.
	Judged fs.FileInfo
	// SHA256 is the file's digest in hex, where somebody has read it already.
	SHA256 string
	// Format is qcow2 or raw.
	Format string
	// Size is the virtual size, FileSize the file's length.
	Size, FileSize spec.Size
	// InPlace says that the file never changes (it is in the nix store, kept by a GC
	// root) and that QEMU can reach it there: a root disk may lie directly on it.
	InPlace bool
	// Arch is the architecture that it was built as one of, in libvirt's words; empty when
	// nobody knows it.
	Arch string
	// OnHost says that Path is on the host and not on the client: it was built there.
	OnHost bool
	// Origin is where it came from, as far as it is known.
	Origin Origin
	// Kept, when set, waits until nothing can take the file away. No guest is started before.
	Kept func() error
}

// ShortID is enough of the ID for people.
func (i Image) ShortID() string { return shortID(i.ID) }

func shortID(id string) string {
	kind, hash, ok := strings.Cut(id, "-")
	if !ok {
		return id
	}
	return kind + "-" + hash[:min(len(hash), 12)]
}
