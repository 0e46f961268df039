package image

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// secret is what hostile images try to get at.
const secret = "/etc/shadow"

// little puts a number where a header of VMware, VirtualBox or Microsoft has one.
func little(at int, value uint64, width int) func([]byte) []byte {
	return func(b []byte) []byte {
		var number [8]byte
		binary.LittleEndian.PutUint64(number[:], value)
		copy(b[at:at+width], number[:width])
		return b
	}
}

func replace(old, with string) func([]byte) []byte {
	return func(b []byte) []byte { return bytes.Replace(b, []byte(old), []byte(with), 1) }
}

// over writes text over what is there.
func over(at int, text string) func([]byte) []byte {
	return func(b []byte) []byte {
		copy(b[at:], text)
		return b
	}
}

func is(content []byte) func([]byte) []byte { return func([]byte) []byte { return content } }

// streamed is what qemu-img makes of a disk as a VMDK that can be read in one go.
func streamed(t testing.TB) []byte {
	path, _ := foreignDisk(t, "vmdk", "subformat=streamOptimized")
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return data
}

// genuine are small disks of each format, as qemu-img makes them.
func genuine(t *testing.T) map[string][]byte {
	t.Helper()
	all := map[string][]byte{"qcow2": sound(), "raw": disk(1 << 20), "streamed": streamed(t)}
	for format, options := range map[string]string{"vmdk": "", "vdi": "", "vhdx": "", "vhd": "force_size=on"} {
		path := filepath.Join(t.TempDir(), "x")
		args := []string{"create", "-q", "-f", strings.Replace(format, "vhd", "vpc", 1)}
		if format == "vhdx" {
			args[3] = "vhdx"
		}
		if options != "" {
			args = append(args, "-o", options)
		}
		run(t, "", "qemu-img", append(args, path, "10M")...)
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		all[format] = data
	}
	return all
}

const (
	vdiAt = 0x40
)

// hostile are images that somebody made to do harm, or that are broken so that they might,
// and what each gets. The name is what the file is called.
func hostile(t *testing.T) []struct {
	name, from string
	change     func([]byte) []byte
	want       string
} {
	t.Helper()
	descriptor := "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType=\"%\"\n\n# Extent description\n"
	text := func(kind, extent string) func([]byte) []byte {
		return is([]byte(strings.Replace(descriptor, "%", kind, 1) + extent + "\n"))
	}
	packed := packers(t)
	zeros := make([]byte, 9<<20)
	copy(zeros, disk(512))
	return []struct {
		name, from string
		change     func([]byte) []byte
		want       string
	}{
		// qcow2: other files.
		{"backing.qcow2", "qcow2", with(8, 512, 8), "has a backing file"},
		{"backing-after-the-end.qcow2", "qcow2", with(8, 1<<62, 8), "has a backing file"},
		{"data-file.qcow2", "qcow2", with(72, 4, 8), "keeps its data in another file"},
		{"data-file-name.qcow2", "qcow2", extension(extensionDataFile, 16), "keeps its data in another file"},
		{"version-2-backing.qcow2", "qcow2", func(b []byte) []byte { return with(8, 72, 8)(with(4, 2, 4)(b)) }, "has a backing file"},
		// qcow2: what QEMU would do more than read.
		{"version-1.qcow2", "qcow2", with(4, 1, 4), "is a qcow of version 1"},
		{"version-9.qcow2", "qcow2", with(4, 9, 4), "version 9"},
		{"unknown-feature.qcow2", "qcow2", with(72, 1<<33, 8), "a qcow2 feature that is not known (bit 33)"},
		{"dirty.qcow2", "qcow2", with(72, 1, 8), "was not closed properly"},
		{"corrupt.qcow2", "qcow2", with(72, 2, 8), "is marked as corrupt"},
		{"aes.qcow2", "qcow2", with(32, 1, 4), "is encrypted"},
		{"luks.qcow2", "qcow2", with(32, 2, 4), "is encrypted"},
		{"crypto-header.qcow2", "qcow2", extension(extensionCrypto, 16), "is encrypted"},
		// qcow2: sizes that cost memory, disk or time.
		{"petabyte.qcow2", "qcow2", with(24, 1<<50, 8), "a disk of more than 64TiB"},
		{"negative.qcow2", "qcow2", with(24, 1<<63, 8), "a disk of more than 64TiB"},
		{"no-size.qcow2", "qcow2", with(24, 0, 8), "a disk of 0 bytes"},
		{"l1-of-16g.qcow2", "qcow2", with(36, 0x7fffffff, 4), "its L1 table cannot be right"},
		{"l1-outside.qcow2", "qcow2", with(40, 1<<40, 8), "is cut short"},
		{"l1-wraps.qcow2", "qcow2", with(40, ^uint64(0xffff), 8), "is cut short"},
		{"refcounts-of-256t.qcow2", "qcow2", with(56, 0xffffffff, 4), "its reference count table cannot be right"},
		{"refcounts-wide.qcow2", "qcow2", with(96, 63, 4), "its reference counts cannot be right"},
		{"snapshots.qcow2", "qcow2", with(60, 1<<31, 4), "its snapshot table cannot be right"},
		{"clusters-of-4g.qcow2", "qcow2", with(20, 32, 4), "its cluster size cannot be right"},
		{"header-of-4g.qcow2", "qcow2", with(100, 0xfffffff8, 4), "its header length cannot be right"},
		{"extension-of-4g.qcow2", "qcow2", extension(0x12345678, 0xffffffff), "its header extensions cannot be right"},
		{"same-table-again.qcow2", "qcow2", func(b []byte) []byte {
			b = with(24, 1<<40, 8)(with(36, 4096, 4)(b))
			for i := range 4096 {
				binary.BigEndian.PutUint64(b[3<<16+8*i:], 2<<16)
			}
			return b
		}, "is damaged"},
		{"data-outside.qcow2", "qcow2", func(b []byte) []byte {
			return with(2<<16, 1<<40, 8)(with(3<<16, 2<<16, 8)(b))
		}, "is cut short"},
		{"cut.qcow2", "qcow2", cut(1 << 16), "is cut short"},
		// Not what the name says.
		{"qcow2.raw", "qcow2", nil, "is not what its name says: it is a qcow2"},
		{"qcow2-with-backing.raw", "qcow2", with(8, 512, 8), "has a backing file"},
		{"qcow2.vmdk", "qcow2", nil, "is not what its name says: it is a qcow2"},
		{"raw.qcow2", "raw", nil, "it looks like a raw disk"},
		{"raw.vmdk", "raw", nil, "is not what its name says: it is a raw disk"},
		{"vmdk.qcow2", "vmdk", nil, "is not what its name says: it is a VMDK"},
		{"vmdk.img", "vmdk", nil, "is not what its name says: it is a VMDK"},
		{"vdi.vmdk", "vdi", nil, "is not what its name says: it is a VDI"},
		{"gzip.qcow2", "qcow2", packed[".gz"], "is not what its name says: it is packed with gzip"},
		{"gzip.qcow2.xz", "qcow2", packed[".gz"], "is not what its name says: it is packed with gzip"},
		{"nothing.qcow2.xz", "", is([]byte("hello, world")), "nothing is known that looks like this"},
		{"empty.vmdk", "", is(nil), "is empty"},
		// Two things at once.
		{"disk-and-vhd.raw", "raw", func(b []byte) []byte { return append(b, append([]byte("conectix"), make([]byte, 504)...)...) }, "it is a VHD"},
		{"disk-and-iso.raw", "raw", over(32769, "CD001"), "is not a qcow2: it is an ISO image"},
		{"qcow2-and-mbr.img", "qcow2", func(b []byte) []byte { return with(8, 512, 8)(over(510, "\x55\xaa")(b)) }, "has a backing file"},
		{"script.img", "", is([]byte("#!/bin/sh\nrm -rf /\n")), "is not a qcow2, and has no partition table"},
		{"page.qcow2", "", is([]byte("<!DOCTYPE html><p>Please log in")), "is a web page"},
		{"pointer.qcow2", "", is([]byte("version https://git-lfs.github.com/spec/v1\n")), "a Git LFS pointer"},
		{"luks.img", "", is([]byte("LUKS\xba\xbe" + strings.Repeat("\x00", 2000))), "a LUKS container"},
		{"qed.img", "", is([]byte("QED\x00" + strings.Repeat("\x00", 2000))), "is a QED"},
		// VMDK.
		{"flat.vmdk", "", text("monolithicFlat", `RW 20480 FLAT "`+secret+`" 0`), "a VMDK description that names other files"},
		{"device.vmdk", "", text("fullDevice", `RW 20480 FLAT "/dev/sda" 0`), "a VMDK description that names other files"},
		{"split.vmdk", "", text("twoGbMaxExtentSparse", `RW 20480 SPARSE "`+secret+`"`), "a VMDK description that names other files"},
		{"embedded-flat.vmdk", "vmdk", replace("monolithicSparse", "monolithicFlat\"\n\n"), "as a VMDK of its type it lies in other files"},
		{"embedded-extent.vmdk", "vmdk", replace(`SPARSE "`, `FLAT "/`), "as its description says, it lies in other files"},
		{"embedded-path.vmdk", "vmdk", func(b []byte) []byte {
			return replace("RW 20480 SPARSE \"x\"", `RW 20480 SPARSE "../x"`)(b)
		}, "as its description says, it lies in other files"},
		{"two-extents.vmdk", "vmdk", replace("RW 20480 SPARSE \"x\"\n", "RW 10240 SPARSE \"x\"\nRW 10240 SPARSE \"y\"\n"), "as its description says, it lies in other files"},
		{"parent.vmdk", "vmdk", replace("parentCID=ffffffff", "parentCID=12345678"), "has a parent"},
		{"parent-name.vmdk", "vmdk", replace("# Extent description", `parentFileNameHint="`+secret+`"`+"\n#"), "has a parent"},
		{"parent-elsewhere.vmdk", "vmdk", over(512+19*512, "\nparentFileNameHint=\"/x\"\n"), "has a parent"},
		{"no-capacity.vmdk", "vmdk", little(12, 0, 8), "its capacity cannot be right"},
		{"exabyte.vmdk", "vmdk", little(12, 1<<60, 8), "its capacity cannot be right"},
		{"small-grains.vmdk", "vmdk", func(b []byte) []byte { return little(20, 1, 8)(little(12, 1<<36, 8)(little(44, 1, 4)(b))) }, "its grain directory cannot be right"},
		{"no-grains.vmdk", "vmdk", little(44, 0, 4), "its grain tables cannot be right"},
		{"no-grain-size.vmdk", "vmdk", little(20, 0, 8), "its grain tables cannot be right"},
		{"directory-outside.vmdk", "vmdk", little(56, 1<<50, 8), "is cut short"},
		{"description-outside.vmdk", "vmdk", little(28, 1<<50, 8), "its description cannot be right"},
		{"description-of-4g.vmdk", "vmdk", little(36, 1<<23, 8), "its description cannot be right"},
		{"version-9.vmdk", "vmdk", little(4, 9, 4), "is a VMDK of version 9"},
		{"version-3-of-1998.vmdk", "", is([]byte("COWD" + strings.Repeat("\x00", 4000))), "names other files"},
		{"other-footer.vmdk", "streamed", footer(func(foot []byte) []byte { return little(12, 1<<30, 8)(foot) }), "its footer cannot be right"},
		{"no-footer.vmdk", "streamed", footer(func([]byte) []byte { return make([]byte, 512) }), "its footer cannot be right"},
		{"endless-footer.vmdk", "streamed", footer(func(foot []byte) []byte { return little(56, ^uint64(0), 8)(foot) }), "its footer cannot be right"},
		{"footer-outside.vmdk", "streamed", footer(func(foot []byte) []byte { return little(56, 1<<50, 8)(foot) }), "is cut short"},
		// VDI.
		{"parent.vdi", "vdi", over(0x1b8, "0123456789abcdef"), "has a parent"},
		{"link.vdi", "vdi", over(0x1a8, "0123456789abcdef"), "has a parent"},
		{"differencing.vdi", "vdi", little(0x4c, 4, 4), "has a parent"},
		{"exabyte.vdi", "vdi", little(0x170, 1<<60, 8), "its size cannot be right"},
		{"more-than-blocks.vdi", "vdi", little(0x170, 1<<30, 8), "its size cannot be right"},
		{"blocks-of-512.vdi", "vdi", little(0x178, 512, 4), "its block size cannot be right"},
		{"map-over-data.vdi", "vdi", little(0x154, 1<<30, 4), "its block map cannot be right"},
		{"version-0.vdi", "vdi", little(vdiAt+4, 1, 4), "is a VDI of version 0.1"},
		{"cut.vdi", "vdi", cut(600), "is cut short"},
		// VHD.
		{"differencing.vhd", "vhd", with(60, 4, 4), "has a parent"},
		{"parent.vhd", "vhd", over(512+40, "0123456789abcdef"), "has a parent"},
		{"exabyte.vhd", "vhd", with(48, 1<<60, 8), "its size cannot be right"},
		{"table-of-16g.vhd", "vhd", with(512+28, 0xffffffff, 4), "its block table cannot be right"},
		{"blocks-of-3.vhd", "vhd", with(512+32, 3, 4), "its block size cannot be right"},
		{"header-outside.vhd", "vhd", with(16, 1<<40, 8), "is cut short"},
		{"odd-type.vhd", "vhd", with(60, 7, 4), "its type cannot be right"},
		// VHDX.
		{"parent.vhdx", "vhdx", func(b []byte) []byte { return vhdxItem(b, vhdxParameters, 4, 2) }, "has a parent"},
		{"exabyte.vhdx", "vhdx", func(b []byte) []byte { return vhdxItem(b, vhdxDiskSize, 0, 0x40) }, "is a disk of"},
		{"metadata-outside.vhdx", "vhdx", func(b []byte) []byte {
			at := bytes.Index(b, []byte(vhdxMetadata))
			return little(at+16, 1<<50, 8)(b)
		}, "its metadata cannot be right"},
		{"no-metadata.vhdx", "vhdx", replace(vhdxMetadata, strings.Repeat("x", 16)), "its region table cannot be right"},
		{"many-regions.vhdx", "vhdx", little(vhdxRegions+8, 0xffffffff, 4), "its region table cannot be right"},
		{"cut.vhdx", "vhdx", cut(100_000), "is cut short"},
		// Packed.
		{"bomb.raw.zst", "", is(packZstd(zeros)), "would become larger than 8MiB"},
		{"bomb.raw.gz", "", is(packed[".gz"](zeros)), "would become larger than 8MiB"},
		{"bomb.raw.xz", "", is(packed[".xz"](zeros)), "would become larger than 8MiB"},
		{"bomb.raw.bz2", "", is(packed[".bz2"](zeros)), "would become larger than 8MiB"},
		{"twice.raw.zst.zst", "raw", func(b []byte) []byte { return packZstd(packZstd(b)) }, "is packed twice"},
		{"backing.qcow2.zst", "qcow2", func(b []byte) []byte { return packZstd(with(8, 512, 8)(b)) }, "has a backing file"},
		{"flat.vmdk.zst", "", func(b []byte) []byte { return packZstd(text("monolithicFlat", `RW 1 FLAT "`+secret+`" 0`)(b)) }, "names other files"},
		{"qcow2.raw.zst", "qcow2", packZstd, "is not what its name says: it is a qcow2"},
		{"program.raw.zst", "", is(packZstd([]byte("\x7fELF" + strings.Repeat("x", 100_000)))), "an ELF program"},
		{"noise.raw.gz", "", is(packed[".gz"](bytes.Repeat([]byte("noise"), 50_000))), "has no partition table"},
		{"archive.raw.xz", "", is(packed[".xz"](over(257, "ustar")(make([]byte, 10240)))), "a tar archive"},
		{"nothing.raw.zst", "", is(packZstd(nil)), "is empty"},
		{"cut.raw.zst", "raw", func(b []byte) []byte { p := packZstd(b); return p[:len(p)-6] }, "is cut short"},
		{"cut.raw.gz", "raw", func(b []byte) []byte { p := packed[".gz"](b); return p[:len(p)-6] }, "is cut short"},
		{"cut.raw.xz", "raw", func(b []byte) []byte { p := packed[".xz"](b); return p[:len(p)-6] }, "cannot be unpacked"},
		{"cut.raw.bz2", "", is(packed[".bz2"](disk(1 << 20))[:40]), "is cut short"},
		{"wrong-sum.raw.gz", "raw", func(b []byte) []byte { p := packed[".gz"](b); p[len(p)-8] ^= 1; return p }, "cannot be unpacked"},
		// 256 MiB: less than the library itself would take.
		{"wide-window.raw.zst", "", is([]byte("\x28\xb5\x2f\xfd\x00\x90\x01\x00\x00")), "of memory to be unpacked"},
		{"wide-window.raw.xz", "raw", func(b []byte) []byte { return wideXZ(t, packed[".xz"](b)) }, "The limit is 256 MiB"},
	}
}

// wideXZ makes xz take half a GiB of memory: less than it may at all, and more than it is told to.
func wideXZ(t *testing.T, b []byte) []byte {
	t.Helper()
	const header = 12
	block := b[header : header+4*(int(b[header])+1)]
	at := bytes.Index(block, []byte{0x21, 1}) // LZMA2, with one byte of properties
	require.Positive(t, at)
	block[at+2] = 34 // its dictionary has (2 | 34&1) << (34/2 + 11) bytes
	end := len(block) - 4
	binary.LittleEndian.PutUint32(block[end:], crc32.ChecksumIEEE(block[:end]))
	return b
}

// footer makes the tables' places stand at the end of a VMDK, changed.
func footer(change func([]byte) []byte) func([]byte) []byte {
	return func(b []byte) []byte {
		foot := change(slices.Clone(b[:512]))
		return append(append(little(56, ^uint64(0), 8)(b), foot...), make([]byte, 512)...)
	}
}

// vhdxItem changes a byte of an item of the metadata.
func vhdxItem(b []byte, item string, at int, value byte) []byte {
	_, region, _ := bytes.Cut(b, []byte(vhdxMetadata))
	meta := int(binary.LittleEndian.Uint64(region))
	entry := bytes.Index(b[meta:], []byte(item)) + meta
	offset := int(binary.LittleEndian.Uint32(b[entry+16:]))
	if item == vhdxDiskSize {
		at = 7
	}
	b[meta+offset+at] |= value
	return b
}

// What hostile images get: a sentence, a hint, and nothing else. qemu-img is not there,
// so none can have been shown to it.
func TestHostileImages(t *testing.T) {
	made := genuine(t)
	cases := hostile(t)
	require.Greater(t, len(cases), 100)
	dir := t.TempDir()
	xz := filepath.Join(dir, "bin")
	require.NoError(t, os.Mkdir(xz, 0o700))
	require.NoError(t, os.Symlink(need(t, "xz"), filepath.Join(xz, "xz")))
	t.Setenv("PATH", xz)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			data := slices.Clone(made[c.from])
			if c.change != nil {
				data = c.change(data)
			}
			if c.from != "" && c.change != nil {
				require.NotEqual(t, made[c.from], data, "the test changes something")
			}
			path := filepath.Join(dir, c.name)
			put(t, path, data)
			cache := t.TempDir()
			_, err := Obtain(t.Context(), spec.Image{Kind: spec.ImageFile, Ref: "./" + c.name}, path, Options{Cache: cache, Unpacked: 8 * spec.MiB})
			require.ErrorContains(t, err, c.want)
			assert.Equal(t, fault.Build, fault.KindOf(err))
			assert.NotEmpty(t, fault.HintOf(err))
			assert.NotContains(t, err.Error(), "installed", "it came as far as to qemu-img")
			assert.Empty(t, leftovers(t, cache))
			for _, left := range []string{"converted-*", "copied-*"} {
				found, err := filepath.Glob(filepath.Join(cache, "images", left))
				require.NoError(t, err)
				assert.Empty(t, found)
			}

			// The same from the web, whose name is nobody's promise.
			w := serve(t)
			_, err = Obtain(t.Context(), spec.Image{Kind: spec.ImageURL, Ref: w.put(c.name, data), SHA256: hexOf(data)}, "",
				Options{Cache: cache, Client: w.client(), Unpacked: 8 * spec.MiB})
			if len(data) > 0 {
				require.ErrorContains(t, err, c.want)
			}
			require.Error(t, err)
		})
	}
}

// Definitions that name what no image is.
func TestHostileFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put(t, filepath.Join(dir, "real.qcow2"), sound())
	huge := filepath.Join(small(t), "huge.raw") // not every file system has files of this size
	put(t, huge, disk(512))
	require.NoError(t, os.Truncate(huge, 1<<50))
	require.NoError(t, unix.Mkfifo(filepath.Join(dir, "fifo.qcow2"), 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "dir.qcow2"), 0o700))
	for link, target := range map[string]string{
		"device.qcow2": "/dev/zero", "terminal.qcow2": "/dev/tty", "shadow.qcow2": "/etc/passwd", "loop.qcow2": "loop.qcow2",
		"nowhere.qcow2": "/nonexistent", "memory.qcow2": "/proc/self/mem", "fifo.raw.zst": "fifo.qcow2", "device.vmdk": "/dev/null",
	} {
		require.NoError(t, os.Symlink(target, filepath.Join(dir, link)))
	}
	for name, want := range map[string]string{
		"huge.raw":       "is larger than 64TiB",
		"fifo.qcow2":     "is a named pipe, not a file",
		"fifo.raw.zst":   "is a named pipe, not a file",
		"dir.qcow2":      "is a directory",
		"device.qcow2":   "is a device, not a file",
		"device.vmdk":    "is a device, not a file",
		"shadow.qcow2":   "is not a qcow2",
		"memory.qcow2":   "is empty",
		"loop.qcow2":     "could not be opened",
		"nowhere.qcow2":  "there is no image",
		"absent.raw.xz":  "there is no image",
		"terminal.qcow2": "",
	} {
		path := filepath.Join(dir, name)
		if name == "huge.raw" {
			path = huge
		}
		_, err := Obtain(t.Context(), spec.Image{Kind: spec.ImageFile, Ref: name}, path, Options{Cache: t.TempDir()})
		require.ErrorContains(t, err, want, name)
	}
	_, err := Obtain(t.Context(), spec.Image{Kind: spec.ImageFile, Ref: "real.qcow2", SHA256: hexOf(nil)}, filepath.Join(dir, "real.qcow2"), Options{Cache: t.TempDir()})
	require.ErrorContains(t, err, "is not what it was said to be")
	_, err = Obtain(t.Context(), spec.Image{Kind: spec.ImageFile, Ref: "real.qcow2", SHA256: hexOf(sound())}, filepath.Join(dir, "real.qcow2"), Options{Cache: t.TempDir()})
	require.NoError(t, err)
}

// What a build may put into its output.
func TestHostileOutputs(t *testing.T) {
	t.Parallel()
	store := t.TempDir()
	out := filepath.Join(store, storeName[:31]+"0-image")
	require.NoError(t, os.Mkdir(out, 0o755))
	outside := filepath.Join(t.TempDir(), "x.qcow2")
	put(t, outside, sound())
	put(t, filepath.Join(store, "stray.qcow2"), sound())
	require.NoError(t, unix.Mkfifo(filepath.Join(out, "fifo.qcow2"), 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(out, "dir.qcow2"), 0o700))
	put(t, filepath.Join(out, "backing.qcow2"), with(8, 512, 8)(sound()))
	put(t, filepath.Join(out, "other.raw"), sound())
	for link, target := range map[string]string{
		"outside.qcow2": outside, "up.qcow2": "../../../../../../../../etc/passwd", "device.qcow2": "/dev/zero", "self.qcow2": "self.qcow2",
		"gone.qcow2": "nothing", "stray.qcow2": "../stray.qcow2",
	} {
		require.NoError(t, os.Symlink(target, filepath.Join(out, link)))
	}
	for name, want := range map[string]string{
		"outside.qcow2": "outside the nix store", "up.qcow2": "outside the nix store", "device.qcow2": "outside the nix store",
		"self.qcow2": "could not be opened", "gone.qcow2": "there is no image", "stray.qcow2": "is not a path of a nix store",
		"fifo.qcow2": "is a named pipe", "dir.qcow2": "is a directory", "backing.qcow2": "has a backing file",
		"other.raw": "is not what its name says", "../stray.qcow2": "is not a path of a nix store", "../../x": "does not lie in the store",
	} {
		_, err := FromStore(t.Context(), filepath.Join(out, name), out, "images/x", true)
		require.ErrorContains(t, err, want, name)
	}
}

// small is a directory on a file system of 32 MiB.
func small(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=32m"); err != nil {
		if os.Geteuid() == 0 {
			require.NoError(t, err)
		}
		t.Skip("only root can mount a small file system")
	}
	t.Cleanup(func() { assert.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	return dir
}

// A disk that becomes large only when it is converted is stopped.
func TestConversionIsBounded(t *testing.T) {
	t.Parallel()
	// Every grain of the disk is the same one of the file.
	path, _ := foreignDisk(t, "vmdk", "")
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	const grains = 512
	le := binary.LittleEndian
	directory := int(le.Uint64(data[56:])) * 512
	table := int(le.Uint32(data[directory:])) * 512
	used := uint32(0)
	for i := range grains {
		if used = le.Uint32(data[table+4*i:]); used != 0 {
			break
		}
	}
	require.NotZero(t, used)
	capacity := uint64(8 << 30)
	data = little(12, capacity/512, 8)(data)
	data = replace("RW 16384 SPARSE", "RW 16777216 SPARSE")(data)
	for i := range grains {
		le.PutUint32(data[table+4*i:], used)
	}
	entries := int(capacity / 512 / 128 / grains)
	for i := range entries {
		le.PutUint32(data[directory+4*i:], uint32(table/512))
	}
	put(t, path, data)
	dir := small(t)
	_, err = Obtain(t.Context(), spec.Image{Kind: spec.ImageFile, Ref: path}, path, Options{Cache: dir})
	require.Error(t, err)
	assert.Equal(t, fault.Build, fault.KindOf(err))
	assert.Regexp(t, "no room|cannot be converted", err.Error())
	assert.Empty(t, leftovers(t, dir))
}
