package image

import (
	"bytes"
	"strings"

	"vmctl/pkg/ansi"
)

// signature is how a format that is not taken is recognised, and what to do then.
type signature struct {
	at    int
	magic string
	name  string
	// convert is the format's name for qemu-img; unpack the command that decompresses.
	convert, unpack string
}

// signatures of what people and download pages take for a disk image.
func signatures() []signature {
	return []signature{
		{0, "KDMV", "a VMDK", "vmdk", ""},
		{0, "# Disk DescriptorFile", "a VMDK description that names other files", "", ""},
		{0, "vhdxfile", "a VHDX", "vhdx", ""},
		{0, "conectix", "a VHD", "vpc", ""},
		{64, "\x7f\x10\xda\xbe", "a VDI", "vdi", ""},
		{0, "QED\x00", "a QED", "qed", ""},
		{0, "WithoutFreeSpace", "a Parallels disk", "parallels", ""},
		{0, "WithouFreSpacExt", "a Parallels disk", "parallels", ""},
		{0, "LUKS\xba\xbe", "a LUKS container", "", ""},
		{32769, "CD001", "an ISO image (a CD, not a disk)", "", ""},
		{0, "\x1f\x8b", "compressed with gzip", "", "gzip -dk"},
		{0, "\xfd7zXZ\x00", "compressed with xz", "", "xz -dk"},
		{0, "\x28\xb5\x2f\xfd", "compressed with zstd", "", "zstd -d"},
		{0, "BZh", "compressed with bzip2", "", "bzip2 -dk"},
		{0, "PK\x03\x04", "a zip archive", "", "unzip"},
		{257, "ustar", "a tar archive", "", "tar -xf"},
		{0, "\x7fELF", "an ELF program", "", ""},
		{0, "version https://git-lfs", "a Git LFS pointer, not the file itself", "", "git lfs pull --include"},
	}
}

// foreign names a format that is recognised and not taken, or returns nil.
func (s subject) foreign(head []byte) error {
	for _, f := range signatures() {
		if len(head) < f.at || !bytes.HasPrefix(head[f.at:], []byte(f.magic)) {
			continue
		}
		err := s.bad("is not a qcow2: it is %s", f.name)
		switch {
		case f.convert != "":
			return err.WithHint("convert it: %s", convert(s.file, f.convert, Qcow2))
		case f.unpack != "":
			return err.WithHint("unpack it: %s %s", f.unpack, quote(s.file))
		}
		return err.WithHint("vmctl takes qcow2 and raw disk images")
	}
	start := strings.ToLower(string(bytes.TrimLeft(head[:min(len(head), 256)], "\xef\xbb\xbf \t\r\n")))
	if strings.HasPrefix(start, "<!doctype") || strings.HasPrefix(start, "<html") || strings.HasPrefix(start, "<?xml") {
		return s.bad("is not a qcow2: it is a web page, perhaps an error message that was saved").
			WithHint("download it again, and look at the address")
	}
	return nil
}

// convert is the command that makes a clean qcow2 of an image.
func convert(path, from, to string) string {
	out := strings.TrimSuffix(path, ".qcow2")
	if out != path {
		out += "-converted"
	}
	return "qemu-img convert -f " + from + " -O " + to + " " + quote(path) + " " + quote(out+".qcow2")
}

// quote makes a path one word of a shell, and no option.
func quote(path string) string {
	if strings.HasPrefix(path, "-") {
		path = "./" + path
	}
	return ansi.ShellWord(path)
}
