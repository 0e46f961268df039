package image

import (
	"bytes"
	"slices"
	"strings"
)

// kind is what the content of a file is.
type kind string

// The kinds beside Qcow2 and Raw. Those of disks are called as qemu-img calls them.
const (
	unknown kind = ""

	vmdk kind = "vmdk"
	vdi  kind = "vdi"
	vhdx kind = "vhdx"
	vhd  kind = "vpc"

	gzipped kind = "gzip"
	xzipped kind = "xz"
	zstded  kind = "zstd"
	bzip2ed kind = "bzip2"
)

// packed says that it has to be unpacked first.
func (k kind) packed() bool {
	return k == gzipped || k == xzipped || k == zstded || k == bzip2ed
}

// converted says that QEMU is never shown it but for making a qcow2 of it.
func (k kind) converted() bool { return k == vmdk || k == vdi || k == vhdx || k == vhd }

// sniff tells what a file is by its first bytes and its last 512; the name is not asked.
// What it does not know may be a raw disk, or nothing at all.
func sniff(head, tail []byte) kind {
	has := func(at int, magic string) bool {
		return len(head) >= at && bytes.HasPrefix(head[at:], []byte(magic))
	}
	switch {
	case has(0, string(qcowMagic)):
		return Qcow2
	case has(0, "KDMV"), has(0, "COWD"), has(0, "# Disk DescriptorFile"):
		return vmdk
	case has(64, "\x7f\x10\xda\xbe"):
		return vdi
	case has(0, "vhdxfile"):
		return vhdx
	case has(0, "conectix"), bytes.HasPrefix(tail, []byte("conectix")):
		return vhd
	case has(0, "\x1f\x8b"):
		return gzipped
	case has(0, "\xfd7zXZ\x00"):
		return xzipped
	case has(0, "\x28\xb5\x2f\xfd"):
		return zstded
	case has(0, "BZh"):
		return bzip2ed
	case partitioned(head):
		return Raw
	}
	return unknown
}

// suffixes are what a name says of a file, each with what may be in it then.
func suffixes() map[string][]kind {
	return map[string][]kind{
		".qcow2": {Qcow2}, ".raw": {Raw}, ".img": {Qcow2, Raw},
		".vmdk": {vmdk}, ".vdi": {vdi}, ".vhdx": {vhdx}, ".vhd": {vhd}, ".vpc": {vhd},
		".gz": {gzipped}, ".xz": {xzipped}, ".zst": {zstded}, ".bz2": {bzip2ed},
	}
}

// said is what a name's suffix says, and the name without it; nil when it says nothing.
func said(name string) (kinds []kind, rest string) {
	at := strings.LastIndexByte(name, '.')
	if at < 0 {
		return nil, name
	}
	kinds = suffixes()[strings.ToLower(name[at:])]
	if kinds == nil {
		return nil, name
	}
	return kinds, name[:at]
}

// title is what a kind is in a sentence, with an article.
func (k kind) title() string {
	switch k {
	case Qcow2:
		return "a qcow2"
	case Raw:
		return "a raw disk"
	case vmdk:
		return "a VMDK"
	case vdi:
		return "a VDI"
	case vhdx:
		return "a VHDX"
	case vhd:
		return "a VHD"
	case unknown:
		return "something else"
	}
	return "packed with " + string(k)
}

// agrees refuses a file that is not what its name says: whoever made it, or fetches it
// for us, may mean something by the difference.
func (s subject) agrees(is kind) error {
	kinds, rest := said(s.name)
	// What an unknown one is instead is told better where it is looked at.
	if kinds == nil || slices.Contains(kinds, is) || is == unknown {
		return nil
	}
	right := ""
	for suffix, of := range suffixes() {
		if len(of) == 1 && of[0] == is && (right == "" || suffix < right) {
			right = suffix
		}
	}
	err := s.bad("is not what its name says: it is %s", is.title())
	if s.download {
		return err.WithHint("look at its address, and do not use it if you did not expect this")
	}
	return err.WithHint("if it is to be that, rename it: mv %s %s", quote(s.file), quote(strings.TrimSuffix(s.file, s.name[len(rest):])+right))
}
