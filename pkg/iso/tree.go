package iso

import (
	"encoding/binary"
	"strings"
	"unicode/utf16"
)

// tree is one of the two directories over the same files: ISO 9660's own with Rock Ridge,
// or Joliet's (ECMA-119; IEEE P1282; the Joliet specification).
type tree struct {
	rock bool
	// paths, root are the sectors of the little-endian table of paths and the directory.
	paths, root, rootSize int
}

const (
	headerSize = 33
	// rootRecord is the length of the root directory's record in a descriptor.
	rootRecord = 34
	pathRecord = 10
)

// both writes a number in both byte orders, as ISO 9660 wants most of them.
func both32(b []byte, n int) {
	binary.LittleEndian.PutUint32(b, uint32(n))
	binary.BigEndian.PutUint32(b[4:], uint32(n))
}

func both16(b []byte, n int) {
	binary.LittleEndian.PutUint16(b, uint16(n))
	binary.BigEndian.PutUint16(b[2:], uint16(n))
}

// record is a directory's entry; all times are the beginning of 1970.
func record(id []byte, extent, size int, directory bool, extra []byte) []byte {
	padded := headerSize + len(id) + (len(id)+1)%2
	b := make([]byte, padded+len(extra)+len(extra)%2)
	b[0] = byte(len(b))
	both32(b[2:], extent)
	both32(b[10:], size)
	b[18], b[19], b[20] = 70, 1, 1
	if directory {
		b[25] = 2
	}
	both16(b[28:], 1)
	b[32] = byte(len(id))
	copy(b[headerSize:], id)
	copy(b[padded:], extra)
	return b
}

// posix is Rock Ridge's PX entry: mode and links, of root.
func posix(mode, links int) []byte {
	b := make([]byte, 36)
	copy(b, "PX\x24\x01")
	both32(b[4:], mode)
	both32(b[12:], links)
	return b
}

const (
	directoryMode = 0o040500
	fileMode      = 0o100400
)

// records are the directory's entries.
func (t *tree) records(files []File, extents []int) [][]byte {
	var self, parent []byte
	if t.rock {
		self = append([]byte("SP\x07\x01\xbe\xef\x00"), posix(directoryMode, 2)...)
		self = append(self, "ER\x12\x01\x0a\x00\x00\x01RRIP_1991A"...)
		parent = posix(directoryMode, 2)
	}
	all := [][]byte{
		record([]byte{0}, t.root, t.rootSize, true, self),
		record([]byte{1}, t.root, t.rootSize, true, parent),
	}
	for i, f := range files {
		if t.rock {
			extra := append(posix(fileMode, 1), 'N', 'M', byte(5+len(f.Name)), 1, 0)
			all = append(all, record(plainName(i), extents[i], len(f.Content), false, append(extra, f.Name...)))
			continue
		}
		all = append(all, record(wide(f.Name+";1"), extents[i], len(f.Content), false, nil))
	}
	return all
}

// directory writes the directory. No entry crosses the end of a sector.
func (t *tree) directory(out []byte, files []File, extents []int) {
	t.place(t.records(files, extents), func(at int, r []byte) { copy(out[at:], r) })
}

func (t *tree) directorySize(files []File) int {
	return t.place(t.records(files, make([]int, len(files))), func(int, []byte) {})
}

func (t *tree) place(records [][]byte, put func(at int, r []byte)) (size int) {
	at := 0
	for _, r := range records {
		if at%sector+len(r) > sector {
			at += sector - at%sector
		}
		put(at, r)
		at += len(r)
	}
	return (at + sector - 1) / sector * sector
}

func (t *tree) pathTables(little, big []byte) {
	for _, b := range [][]byte{little, big} {
		b[0] = 1
	}
	binary.LittleEndian.PutUint32(little[2:], uint32(t.root))
	binary.LittleEndian.PutUint16(little[6:], 1)
	binary.BigEndian.PutUint32(big[2:], uint32(t.root))
	binary.BigEndian.PutUint16(big[6:], 1)
}

// descriptor writes the tree's volume descriptor.
func (t *tree) descriptor(b []byte, label string, sectors int) {
	pad := func(from, to int, s string) {
		filled := []byte(s + strings.Repeat(" ", to-from))
		if !t.rock {
			filled = wide(s + strings.Repeat(" ", to-from))
		}
		copy(b[from:to], filled)
	}
	b[0] = 1
	copy(b[1:], "CD001\x01")
	if !t.rock {
		b[0] = 2
		copy(b[88:], "%/E") // UCS-2, level 3
	}
	pad(8, 40, "")
	pad(40, 72, label)
	both32(b[80:], sectors)
	both16(b[120:], 1)
	both16(b[124:], 1)
	both16(b[128:], sector)
	both32(b[132:], pathRecord)
	binary.LittleEndian.PutUint32(b[140:], uint32(t.paths))
	binary.BigEndian.PutUint32(b[148:], uint32(t.paths+1))
	copy(b[156:], record([]byte{0}, t.root, t.rootSize, true, nil)[:rootRecord])
	pad(190, 813, "")
	for _, from := range []int{813, 830, 847, 864} {
		copy(b[from:], strings.Repeat("0", 16))
	}
	b[881] = 1
}

// wide is text in Joliet's UCS-2, big-endian.
func wide(s string) []byte {
	var b []byte
	for _, unit := range utf16.Encode([]rune(s)) {
		b = binary.BigEndian.AppendUint16(b, unit)
	}
	return b
}
