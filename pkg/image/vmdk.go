package image

import (
	"bytes"
	"encoding/binary"
	"io"
	"regexp"
	"strconv"
	"strings"
)

const (
	vmdkHeader = 512
	// vmdkDescriptor is where QEMU looks for a parent, whatever the header says, and
	// how far (block/vmdk.c: desc_offset, DESC_SIZE).
	vmdkDescriptor     = 512
	vmdkDescriptorSize = 20 * 512
	// vmdkAtEnd in place of the directory's offset: the header is said again at the end.
	vmdkAtEnd = ^uint64(0)
	// vmdkMaxTable is QEMU's bound on a directory, in entries.
	vmdkMaxTable = 32 << 20 / 4
)

// vmdk takes VMDK files that have everything in themselves: monolithicSparse and
// streamOptimized. A description that names other files, of any type, is refused.
func (s subject) vmdk(r io.ReaderAt, size int64) (uint64, error) {
	head, err := s.block(r, 0, min(size, vmdkDescriptor+vmdkDescriptorSize), size)
	if err != nil {
		return 0, err
	}
	if !bytes.HasPrefix(head, []byte("KDMV")) {
		return 0, s.bad("is not whole: it is a VMDK description that names other files").
			WithHint("convert it where it comes from: %s; or name the file with the data as a .raw disk", convert(s.file, string(vmdk), Qcow2))
	}
	if len(head) < vmdkHeader {
		return 0, s.truncated()
	}
	capacity, err := s.vmdkTables(head, uint64(size))
	if err != nil {
		return 0, err
	}
	if at := binary.LittleEndian.Uint64(head[28:]); at != 1 {
		return 0, s.damaged("description")
	}
	sectors := binary.LittleEndian.Uint64(head[36:])
	if sectors == 0 || sectors > 2048 {
		return 0, s.damaged("description")
	}
	text, err := s.block(r, vmdkDescriptor, int64(sectors)*sector, size)
	if err != nil {
		return 0, err
	}
	if err := s.vmdkText(text, head[vmdkHeader:]); err != nil {
		return 0, err
	}
	if binary.LittleEndian.Uint64(head[56:]) == vmdkAtEnd {
		// QEMU reads the tables' places from the footer, which lies before the last marker.
		foot, err := s.block(r, size-2*sector, sector, size)
		if err != nil {
			return 0, err
		}
		if !bytes.HasPrefix(foot, []byte("KDMV")) || binary.LittleEndian.Uint64(foot[56:]) == vmdkAtEnd {
			return 0, s.damaged("footer")
		}
		again, err := s.vmdkTables(foot, uint64(size))
		if err != nil {
			return 0, err
		}
		if again != capacity {
			return 0, s.damaged("footer")
		}
	}
	return capacity * sector, nil
}

// vmdkTables checks a header and gives the capacity in sectors.
func (s subject) vmdkTables(head []byte, size uint64) (uint64, error) {
	le := binary.LittleEndian
	version, capacity, grain := le.Uint32(head[4:]), le.Uint64(head[12:]), le.Uint64(head[20:])
	perTable, directory := uint64(le.Uint32(head[44:])), le.Uint64(head[56:])
	switch {
	case version < 1 || version > 3:
		return 0, s.bad("is a VMDK of version %d, which is not known", version).WithHint("vmctl takes versions 1 to 3")
	case capacity == 0 || capacity > uint64(maxVirtual)/sector:
		return 0, s.damaged("capacity")
	case grain < 1 || grain > 128<<20/sector || grain&(grain-1) != 0, perTable == 0 || perTable > 512:
		return 0, s.damaged("grain tables")
	case (capacity-1)/(grain*perTable)+1 > vmdkMaxTable:
		return 0, s.damaged("grain directory")
	case directory != vmdkAtEnd && directory > size/sector:
		return 0, s.truncated()
	}
	return capacity, nil
}

// vmdkText refuses a description that leads to another file. QEMU looks for a parent in
// a place of its own, so that is searched as well.
func (s subject) vmdkText(text, searched []byte) error {
	text, _, _ = bytes.Cut(text, []byte{0})
	for _, where := range [][]byte{text, searched} {
		if bytes.Contains(where, []byte("parentFileNameHint")) {
			return s.whole(s.bad("has a parent, which could be any file of the host"), vmdk)
		}
	}
	extents := 0
	for line := range strings.SplitSeq(string(text), "\n") {
		line = strings.TrimSpace(line)
		key, value, isPair := strings.Cut(line, "=")
		switch {
		case isPair && strings.TrimSpace(key) == "createType":
			kind, err := strconv.Unquote(strings.TrimSpace(value))
			if err != nil || kind != "monolithicSparse" && kind != "streamOptimized" {
				return s.whole(s.bad("is not whole: as a VMDK of its type it lies in other files"), vmdk)
			}
		case isPair && strings.TrimSpace(key) == "parentCID" && !strings.EqualFold(strings.TrimSpace(value), "ffffffff"):
			return s.whole(s.bad("has a parent, which could be any file of the host"), vmdk)
		case regexp.MustCompile(`^(RW|RDONLY|NOACCESS)\s`).MatchString(line):
			extents++
			if !regexp.MustCompile(`^RW \d+ SPARSE "[^"/\\:]+"$`).MatchString(line) {
				return s.whole(s.bad("is not whole: as its description says, it lies in other files"), vmdk)
			}
		}
	}
	if extents > 1 {
		return s.whole(s.bad("is not whole: as its description says, it lies in other files"), vmdk)
	}
	return nil
}
