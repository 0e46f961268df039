package image

import (
	"encoding/binary"
	"io"
	"math/bits"
)

var qcowMagic = []byte("QFI\xfb") //nolint:gochecknoglobals // a constant that Go cannot write

// Incompatible features, by bit (QEMU: docs/interop/qcow2.txt). The compression
// type is known, too; a type that QEMU does not know it refuses itself.
const (
	featureDirty      = 1 << 0
	featureCorrupt    = 1 << 1
	featureDataFile   = 1 << 2
	featureZstd       = 1 << 3
	featureExtendedL2 = 1 << 4
)

// Header extensions that matter here.
const (
	extensionEnd      = 0x00000000
	extensionDataFile = 0x44415441
	extensionCrypto   = 0x0537be77
)

// QEMU's own bounds on the tables, in bytes and entries.
const (
	maxL1            = 32 << 20
	maxRefcountTable = 8 << 20
	maxSnapshots     = 65536
	maxExtensions    = 1024
)

// header is the part of a qcow2 header that is needed to judge it.
type header struct {
	version                       uint32
	backing                       uint64
	clusterBits                   uint32
	size                          uint64
	crypt                         uint32
	l1Size                        uint32
	l1Offset                      uint64
	refcountOffset                uint64
	refcountClusters              uint32
	snapshots                     uint32
	snapshotsOffset, incompatible uint64
	refcountOrder, length         uint32
}

func (h *header) cluster() uint64 { return 1 << h.clusterBits }

// l2Entries is how many clusters one L2 table maps.
func (h *header) l2Entries() uint64 {
	if h.incompatible&featureExtendedL2 != 0 {
		return h.cluster() / 16
	}
	return h.cluster() / 8
}

// parse reads the fixed fields; head holds at least 72 bytes, 104 for version 3.
func parse(head []byte) header {
	u32, u64 := binary.BigEndian.Uint32, binary.BigEndian.Uint64
	h := header{
		version: u32(head[4:]), backing: u64(head[8:]), clusterBits: u32(head[20:]), size: u64(head[24:]),
		crypt: u32(head[32:]), l1Size: u32(head[36:]), l1Offset: u64(head[40:]),
		refcountOffset: u64(head[48:]), refcountClusters: u32(head[56:]),
		snapshots: u32(head[60:]), snapshotsOffset: u64(head[64:]),
		refcountOrder: 4, length: 72,
	}
	if h.version >= 3 {
		h.incompatible, h.refcountOrder, h.length = u64(head[72:]), u32(head[96:]), u32(head[100:])
	}
	return h
}

func (s subject) qcow2(r io.ReaderAt, head []byte, size int64) (header, error) {
	if len(head) < 8 {
		return header{}, s.truncated()
	}
	version := binary.BigEndian.Uint32(head[4:])
	switch {
	case version == 1:
		return header{}, s.bad("is a qcow of version 1, which is too old").WithHint("convert it: %s", convert(s.file, "qcow", Qcow2))
	case version != 2 && version != 3:
		return header{}, s.bad("is a qcow2 of version %d, which is not known", version).WithHint("vmctl takes versions 2 and 3")
	case len(head) < 72 || version == 3 && len(head) < 104:
		return header{}, s.truncated()
	}
	h := parse(head)
	for _, judge := range []func(header) error{s.references, s.features, s.geometry} {
		if err := judge(h); err != nil {
			return header{}, err
		}
	}
	if err := s.tables(h, uint64(size)); err != nil {
		return header{}, err
	}
	return h, s.extensions(r, h, size)
}

// references refuses what makes QEMU open another file.
func (s subject) references(h header) error {
	switch {
	case h.backing != 0:
		return s.bad("has a backing file, which could be any file of the host").
			WithHint("if you trust it, make it whole: %s", convert(s.file, Qcow2, Qcow2))
	case h.incompatible&featureDataFile != 0:
		return s.dataFile()
	}
	return nil
}

func (s subject) dataFile() error {
	return s.bad("keeps its data in another file, which could be any file of the host").
		WithHint("if you trust it, make it whole: %s", convert(s.file, Qcow2, Qcow2))
}

func (s subject) encrypted() error {
	return s.bad("is encrypted, and vmctl has no key for it").
		WithHint("decrypt it with qemu-img convert and its --object secret option")
}

func (s subject) features(h header) error {
	const known = featureDirty | featureCorrupt | featureDataFile | featureZstd | featureExtendedL2
	switch {
	case h.crypt != 0:
		return s.encrypted()
	case h.incompatible&featureCorrupt != 0:
		return s.bad("is marked as corrupt").
			WithHint("repair it: qemu-img check -f qcow2 -r all %s", quote(s.file))
	case h.incompatible&featureDirty != 0:
		return s.bad("was not closed properly by the program that wrote it").
			WithHint("repair it: qemu-img check -f qcow2 -r all %s", quote(s.file))
	case h.incompatible&^known != 0:
		return s.bad("needs a qcow2 feature that is not known (bit %d)", bits.TrailingZeros64(h.incompatible&^known)).
			WithHint("convert it with the QEMU that made it: %s", convert(s.file, Qcow2, Qcow2))
	}
	return nil
}

func (s subject) geometry(h header) error {
	switch {
	case h.clusterBits < 9 || h.clusterBits > 21:
		return s.damaged("cluster size")
	case h.incompatible&featureExtendedL2 != 0 && h.clusterBits < 14:
		return s.damaged("cluster size")
	case h.size == 0:
		return s.bad("is a disk of 0 bytes").WithHint("build or download it again")
	case h.size > uint64(maxVirtual):
		return s.bad("is a disk of more than %s", maxVirtual).WithHint("build it smaller; the machine's disk may be larger than its image")
	case h.refcountOrder > 6:
		return s.damaged("reference counts")
	case h.version == 3 && (h.length < 104 || h.length%8 != 0 || uint64(h.length) > h.cluster()):
		return s.damaged("header length")
	}
	return nil
}

// tables bounds what QEMU would allocate, and finds what lies past the file's end.
func (s subject) tables(h header, size uint64) error {
	mapped := h.cluster() * h.l2Entries()
	switch {
	case uint64(h.l1Size)*8 > maxL1:
		return s.damaged("L1 table")
	case (h.size-1)/mapped+1 > uint64(h.l1Size):
		return s.damaged("L1 table")
	case uint64(h.refcountClusters)*h.cluster() > maxRefcountTable, h.refcountClusters == 0:
		return s.damaged("reference count table")
	case h.snapshots > maxSnapshots:
		return s.damaged("snapshot table")
	}
	type table struct {
		name           string
		offset, length uint64
	}
	list := []table{
		{"L1 table", h.l1Offset, uint64(h.l1Size) * 8},
		{"reference count table", h.refcountOffset, uint64(h.refcountClusters) * h.cluster()},
	}
	if h.snapshots > 0 {
		// A snapshot's entry takes 40 bytes and more.
		list = append(list, table{"snapshot table", h.snapshotsOffset, uint64(h.snapshots) * 40})
	}
	for _, t := range list {
		switch {
		case t.offset == 0 || t.offset%h.cluster() != 0:
			return s.damaged(t.name)
		case t.offset > size || t.length > size-t.offset:
			return s.truncated()
		}
	}
	return nil
}

// extensions walks the header extensions, which end at the first cluster's end.
func (s subject) extensions(r io.ReaderAt, h header, size int64) error {
	end := min(int64(h.cluster()), headLimit, size)
	at := int64(h.length)
	for range maxExtensions {
		if at+8 > end {
			return nil
		}
		var field [8]byte
		if _, err := r.ReadAt(field[:], at); err != nil {
			return s.bad("could not be read: %w", err)
		}
		kind, length := binary.BigEndian.Uint32(field[:]), int64(binary.BigEndian.Uint32(field[4:]))
		switch {
		case kind == extensionEnd:
			return nil
		case length > end-at-8:
			return s.damaged("header extensions")
		case kind == extensionDataFile:
			return s.dataFile()
		case kind == extensionCrypto:
			return s.encrypted()
		}
		at += 8 + (length+7)&^7
	}
	return s.damaged("header extensions")
}

func (s subject) damaged(what string) error {
	return s.bad("is damaged: its %s cannot be right", what).WithHint("build or download it again")
}
