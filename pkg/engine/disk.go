package engine

// Disk is a disk beside the root disk. The guest finds it by its serial.
type Disk struct {
	// Serial has at most 20 bytes: /dev/disk/by-id/virtio-SERIAL in the guest.
	Serial string
	// Path is the file or block device on the host; Format is qcow2 or raw, always stated.
	Path, Format string
	// Block says that Path is a block device.
	Block    bool
	ReadOnly bool
	// Cache, IO and Discard are QEMU's words; an empty one is the host's default.
	Cache, IO, Discard string
	// Secret is the UUID of the libvirt secret with the key of an encrypted disk, or empty.
	Secret string
}
