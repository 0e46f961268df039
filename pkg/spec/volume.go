package spec

import (
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/invopop/jsonschema"

	"vmctl/pkg/fault"
)

const (
	// maxVolumes fit on the PCI Express ports of a guest beside everything else.
	maxVolumes = 16
	// VolumeNameLength is the longest name of a volume: the guest sees it as the disk's
	// serial, and virtio has 20 bytes for that.
	VolumeNameLength = 20
	// reservedPrefix begins the serials of vmctl's own disks.
	reservedPrefix = "vmctl-"

	minVolume = 1 * MiB

	mountLength   = 200
	mountPattern  = `^(/[A-Za-z0-9_@+.-]+)+$`
	pathLength    = 512
	devicePattern = `^/dev/[A-Za-z0-9_@+.:/-]+$`
	sourcePattern = `^[A-Za-z0-9_][A-Za-z0-9_.-]*/[A-Za-z0-9_][A-Za-z0-9_.@+:-]*$`
)

// Volume is a data volume: a disk beside the root disk, with a life of its own.
type Volume struct {
	// Name is its key; the guest sees it as the disk's serial, so the disk is
	// /dev/disk/by-id/virtio-NAME there.
	Name string
	// Size is its virtual size; 0 with Path or Source, whose size is their own.
	Size Size
	// Mount is where the guest mounts it, or empty.
	Mount string
	// Format is the file system that the guest makes on it while it is empty.
	Format FileSystem
	// Path is a block device of the host, or empty.
	Path string
	// Source is an existing libvirt volume as POOL/VOLUME, or empty.
	Source string
	// Disk is how the content of Source is laid out: DiskRaw or DiskQcow2.
	Disk DiskFormat
	// Encrypt says that the volume is a LUKS container whose key libvirt keeps.
	Encrypt bool
	// ReadOnly keeps the guest from writing.
	ReadOnly bool
	// Cache, IO and Discard are QEMU's words.
	Cache, IO, Discard string
}

// Own says that vmctl makes the volume, rather than attaching what is there.
func (v Volume) Own() bool { return v.Path == "" && v.Source == "" }

// Device is where the guest finds the volume.
func (v Volume) Device() string { return "/dev/disk/by-id/virtio-" + v.Name }

// Fstab is the line of fstab(5) that mounts the volume. systemd makes the file system
// while the volume is empty, and grows it. A guest boots also without the volume.
// Source: systemd.mount(5), x-systemd.makefs and x-systemd.growfs.
func (v Volume) Fstab() string {
	options, check := "nofail,x-systemd.makefs,x-systemd.growfs", "2"
	if v.ReadOnly {
		options, check = "ro,nofail", "0"
	}
	return fmt.Sprintf("%s %s %s %s 0 %s", v.Device(), v.Mount, v.Format, options, check)
}

// FileSystem is what a guest makes on an empty volume.
type FileSystem string

// The file systems that systemd makes and grows by itself.
const (
	Ext4  FileSystem = "ext4"
	XFS   FileSystem = "xfs"
	Btrfs FileSystem = "btrfs"
)

// DiskFormat is how a disk's content is laid out in its file.
type DiskFormat string

// The formats; they are stated always and never guessed.
const (
	DiskRaw   DiskFormat = "raw"
	DiskQcow2 DiskFormat = "qcow2"
)

// Settings of a disk, in QEMU's words. All caches but none are the host's page cache;
// all of them write to the disk what the guest flushes.
const (
	CacheWriteback    = "writeback"
	CacheNone         = "none"
	CacheWritethrough = "writethrough"
	CacheDirectsync   = "directsync"

	IOThreads = "threads"
	IONative  = "native"
	IOUring   = "io_uring"

	DiscardUnmap  = "unmap"
	DiscardIgnore = "ignore"
)

// CheckVolumeName says why name cannot be a volume's name, or nil.
func CheckVolumeName(name string) error {
	if err := checkName("a volume", name, VolumeNameLength); err != nil {
		return err
	}
	if strings.HasPrefix(name, reservedPrefix) {
		return fault.New(fault.Usage, "%s cannot be a volume's name: vmctl's own disks are called %s…", quote(name), reservedPrefix)
	}
	return nil
}

// ParseVolumeSize reads the size of a volume, as its key size takes it.
func ParseVolumeSize(s string) (Size, error) {
	size, err := ParseSize(s)
	switch {
	case err != nil:
		return 0, err
	case size < minVolume || size > maxDisk:
		return 0, fault.New(fault.Usage, "%s cannot be the size of a volume: it is from %s to %s", quote(s), minVolume, maxDisk)
	case size%diskUnit != 0:
		return 0, fault.New(fault.Usage, "%s is not a multiple of %s", quote(s), diskUnit).WithHint("the nearest below is %s", (size - size%diskUnit).Exact())
	}
	return size, nil
}

func volumesField() field {
	return named(field{
		Field: Field{
			Key: "volumes", Type: "mapping NAME: volume, or NAME: size", Default: "none",
			Example: `{"data": {"size": "50GiB", "mount": "/var/lib/data"}}`,
			Doc: "Disks beside the root disk. They are made once, and stay when the machine is taken down or its root disk is " +
				"replaced; only vmctl volume rm and down --volumes delete them. In the guest the volume data is /dev/disk/by-id/virtio-data. " +
				"A volume that is added or removed here is attached to or detached from a running machine, and never deleted.",
		},
		words: []string{"volume", "data", "data-disks", "extra-disks", "drives"},
	}, volumeRecord(), maxVolumes, VolumeNameLength, func(p *parser, v Volume) {
		p.keepVolume(v)
	})
}

func volumeRecord() record[Volume] {
	return record[Volume]{
		what: "a volume", example: "data: {size: 50GiB, mount: /var/lib/data}",
		fields: volumeFields,
		fresh: func(name string) Volume {
			return Volume{Name: name, Format: Ext4, Disk: DiskRaw, Cache: CacheWriteback, IO: IOThreads, Discard: DiscardUnmap}
		},
		short:       func(p *parser, v value, t *Volume) { readSize(p, v, &t.Size, minVolume, maxDisk, diskUnit) },
		shortSchema: text(sizePattern, sizeLength),
		check:       CheckVolumeName,
		together:    volumeTogether,
		rules: []*jsonschema.Schema{
			{OneOf: []*jsonschema.Schema{{Required: []string{"size"}}, {Required: []string{"path"}}, {Required: []string{"volume"}}}},
			needs("disk-format", "volume"), needs("format", "mount"),
		},
	}
}

func volumeFields(t *Volume) fieldTable {
	return fieldTable{
		{
			Field: Field{
				Key: "size", Type: "size", Default: needed + ", but for path and volume", Example: "50GiB",
				Doc: "How large the volume is. It grows while the machine runs, with its file system where the guest does that; it never shrinks.",
			},
			words:  []string{"disksize", "disk-size", "capacity"},
			schema: text(sizePattern, sizeLength),
			read:   func(p *parser, v value) { readSize(p, v, &t.Size, minVolume, maxDisk, diskUnit) },
		},
		{
			Field: Field{
				Key: "mount", Type: "path in the guest", Default: "not mounted", Example: "/var/lib/data",
				Doc: "Where the guest mounts the volume, with its file system made first while it is empty. This needs systemd 254 or newer in the " +
					"guest, or vmctl's NixOS module; for others vmctl info shows the line for /etc/fstab.",
			},
			words:  []string{"mountpoint", "mount-point", "target", "dir"},
			schema: text(mountPattern, mountLength),
			read:   func(p *parser, v value) { readMount(p, v, &t.Mount) },
		},
		{
			Field: Field{
				Key: "format", Type: "ext4, xfs or btrfs", Default: string(Ext4), Example: "xfs",
				Doc: "The file system that is made on the volume while it is empty. What is on it is never formatted.",
			},
			words:  []string{"fs", "fstype", "fs-type", "filesystem"},
			schema: oneOf(Ext4, XFS, Btrfs),
			read:   func(p *parser, v value) { readWord(p, v, &t.Format, Ext4, XFS, Btrfs) },
		},
		{
			Field: Field{
				Key: "encrypt", Type: "true or false", Default: "false", Example: "true",
				Doc: "Keep the volume encrypted on the host (LUKS). libvirt holds the key, as a secret of its own; the guest sees a plain disk. " +
					"It cannot be changed later.",
			},
			words:  []string{"encrypted", "encryption", "luks"},
			schema: truth(), read: func(p *parser, v value) { readBool(p, v, &t.Encrypt) },
		},
		{
			Field: Field{
				Key: "path", Type: "block device of the host", Default: "none", Example: "/dev/disk/by-id/ata-DISK_1234",
				Doc: "Attach this block device instead of making a volume. vmctl never deletes or resizes it.",
			},
			words:  []string{"device", "dev", "block", "block-device"},
			schema: text(devicePattern, pathLength),
			read:   func(p *parser, v value) { readDevice(p, v, &t.Path) },
		},
		{
			Field: Field{
				Key: "volume", Type: "POOL/VOLUME", Default: "none", Example: "default/archive.img",
				Doc: "Attach this volume, which is on the host already, instead of making one. vmctl never deletes or resizes it.",
			},
			words:  []string{"pool", "source", "existing"},
			schema: text(sourcePattern, pathLength),
			read:   func(p *parser, v value) { readSource(p, v, &t.Source) },
		},
		{
			Field: Field{
				Key: "disk-format", Type: "raw or qcow2", Default: string(DiskRaw), Example: "qcow2",
				Doc: "What an existing volume is. It is never guessed: a guest could write into a raw disk what looks like another format.",
			},
			words:  []string{"type", "driver", "image-format"},
			schema: oneOf(DiskRaw, DiskQcow2),
			read:   func(p *parser, v value) { readWord(p, v, &t.Disk, DiskRaw, DiskQcow2) },
		},
		{
			Field: Field{
				Key: "read-only", Type: "true or false", Default: "false", Example: "true",
				Doc: "Keep the guest from writing to it.",
			},
			words:  []string{"readonly", "ro"},
			schema: truth(), read: func(p *parser, v value) { readBool(p, v, &t.ReadOnly) },
		},
		{
			Field: Field{
				Key: "cache", Type: "writeback, none, writethrough or directsync", Default: CacheWriteback, Example: "none",
				Doc: "How the host caches the disk. What the guest flushes is on the disk with all of them; none and directsync leave out the host's page cache.",
			},
			schema: oneOf(CacheWriteback, CacheNone, CacheWritethrough, CacheDirectsync),
			read: func(p *parser, v value) {
				readWord(p, v, &t.Cache, CacheWriteback, CacheNone, CacheWritethrough, CacheDirectsync)
			},
		},
		{
			Field: Field{
				Key: "io", Type: "threads, native or io_uring", Default: IOThreads, Example: "io_uring",
				Doc: "By what QEMU reads and writes; native needs cache: none or directsync.",
			},
			schema: oneOf(IOThreads, IONative, IOUring),
			read:   func(p *parser, v value) { readWord(p, v, &t.IO, IOThreads, IONative, IOUring) },
		},
		{
			Field: Field{
				Key: "discard", Type: "unmap or ignore", Default: DiscardUnmap, Example: "ignore",
				Doc: "Whether what the guest discards (fstrim) becomes free on the host.",
			},
			words:  []string{"trim", "unmap"},
			schema: oneOf(DiscardUnmap, DiscardIgnore),
			read:   func(p *parser, v value) { readWord(p, v, &t.Discard, DiscardUnmap, DiscardIgnore) },
		},
	}
}

// volumeTogether checks what depends on more than one key of a volume.
func volumeTogether(p *parser, s scope, t *Volume) {
	problem := func(key, msg, hint string) { p.add(p.keys[s.of(key)], s.of(key), msg, hint) }
	has := func(key string) bool { _, ok := p.keys[s.of(key)]; return ok }
	switch {
	case t.Path != "" && t.Source != "":
		problem("volume", "a volume is either a block device (path) or one that is there (volume)", "keep one of them")
	case !t.Own() && has("size"):
		problem("size", "what is there already has a size of its own", "take the size out")
	case t.Own() && !has("size"):
		p.add(s.at, s.path, "a volume needs a size", "write its size, such as size: 50GiB")
	case has("disk-format") && t.Source == "":
		problem("disk-format", "only a volume that is there already (volume) has a disk format to state", "take it out; format is the file system")
	case t.Encrypt && !t.Own():
		problem("encrypt", "only a volume that vmctl makes can be encrypted", "take it out")
	case t.ReadOnly && t.Own():
		problem("read-only", "a volume that vmctl makes begins empty, and must be written to", "take it out")
	case t.IO == IONative && t.Cache != CacheNone && t.Cache != CacheDirectsync:
		problem("io", "io: native works without the host's cache only", "add cache: none")
	case has("format") && t.Mount == "":
		problem("format", "only a volume that is mounted gets a file system", "add mount: with a path in the guest")
	}
}

// keepVolume takes a volume in if it does not clash with another.
func (p *parser) keepVolume(v Volume) {
	for _, other := range p.m.Volumes {
		at := func(key string) string { return "volumes." + v.Name + "." + key }
		switch {
		case v.Mount != "" && v.Mount == other.Mount:
			p.add(p.keys[at("mount")], at("mount"), fmt.Sprintf("volume %s is mounted there already", other.Name), "choose another directory")
			return
		case v.Path != "" && v.Path == other.Path:
			p.add(p.keys[at("path")], at("path"), fmt.Sprintf("volume %s is this device already", other.Name), "")
			return
		case v.Source != "" && v.Source == other.Source:
			p.add(p.keys[at("volume")], at("volume"), fmt.Sprintf("volume %s is this one already", other.Name), "")
			return
		}
	}
	p.m.Volumes = append(p.m.Volumes, v)
}

func readMount(p *parser, v value, dst *string) {
	s, ok := p.text1(v, "a path in the guest", "such as /var/lib/data")
	switch {
	case !ok:
	case s == "/":
		p.add(v.at, v.path, "the root directory is on the root disk", "choose a directory, such as /var/lib/data")
	case !strings.HasPrefix(s, "/"):
		p.add(v.at, v.path, fmt.Sprintf("%s is not an absolute path", quote(s)), "begin it with /")
	case len(s) > mountLength || !regexp.MustCompile(mountPattern).MatchString(s) || path.Clean(s) != s:
		p.add(v.at, v.path, fmt.Sprintf("%s cannot be mounted on", quote(s)), "write a plain path of letters, digits and ._@+-, such as /var/lib/data")
	default:
		*dst = s
	}
}

func readDevice(p *parser, v value, dst *string) {
	s, ok := p.text1(v, "the path of a block device", "such as /dev/disk/by-id/ata-DISK_1234")
	switch {
	case !ok:
	case len(s) > pathLength || !regexp.MustCompile(devicePattern).MatchString(s) || path.Clean(s) != s:
		p.add(v.at, v.path, fmt.Sprintf("%s is not a block device of the host", quote(s)), "write its stable name, such as /dev/disk/by-id/ata-DISK_1234")
	default:
		*dst = s
	}
}

func readSource(p *parser, v value, dst *string) {
	s, ok := p.text1(v, "POOL/VOLUME", "such as default/archive.img")
	switch {
	case !ok:
	case len(s) > pathLength || !regexp.MustCompile(sourcePattern).MatchString(s):
		p.add(v.at, v.path, fmt.Sprintf("%s is not POOL/VOLUME", quote(s)), "write it as virsh pool-list and vol-list show it, such as default/archive.img")
	default:
		*dst = s
	}
}
