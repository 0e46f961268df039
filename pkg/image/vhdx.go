package image

import (
	"bytes"
	"encoding/binary"
	"io"
)

// Places and bounds of the format ([MS-VHDX]).
const (
	vhdxRegions     = 192 << 10
	vhdxRegionTable = 64 << 10
	vhdxMaxEntries  = 2047
	vhdxMaxMetadata = 64 << 20
	vhdxTable       = 64 << 10
	// vhdxHasParent is a bit of the file's parameters.
	vhdxHasParent = 1 << 1
)

// GUIDs as they lie in the file.
const (
	vhdxMetadata   = "\x06\xa2\x7c\x8b\x90\x47\x9a\x4b\xb8\xfe\x57\x5f\x05\x0f\x88\x6e"
	vhdxParameters = "\x37\x67\xa1\xca\x36\xfa\x43\x4d\xb3\xb6\x33\xf0\xaa\x44\xe7\x6b"
	vhdxDiskSize   = "\x24\x42\xa5\x2f\x1b\xcd\x76\x48\xb2\x11\x5d\xbe\xd8\x3b\xf4\xb8"
	vhdxParent     = "\x2d\x5f\xd3\xa8\x0b\xb3\x4d\x45\xab\xf7\xd3\xd8\x48\x34\xab\x0c"
)

// vhdx takes VHDX files without a parent.
func (s subject) vhdx(r io.ReaderAt, size int64) (uint64, error) {
	table, err := s.block(r, vhdxRegions, vhdxRegionTable, size)
	if err != nil {
		return 0, err
	}
	at, length, err := s.vhdxRegion(table)
	if err != nil {
		return 0, err
	}
	if length > vhdxMaxMetadata || length < vhdxTable || at > uint64(size) || length > uint64(size)-at {
		return 0, s.damaged("metadata")
	}
	meta, err := s.block(r, int64(at), vhdxTable, size)
	if err != nil {
		return 0, err
	}
	le := binary.LittleEndian
	count := int(le.Uint16(meta[10:]))
	if !bytes.HasPrefix(meta, []byte("metadata")) || count > vhdxMaxEntries {
		return 0, s.damaged("metadata")
	}
	var virtual uint64
	known := false
	for i := range count {
		entry := meta[32+32*i:]
		offset, bytes := uint64(le.Uint32(entry[16:])), uint64(le.Uint32(entry[20:]))
		if string(entry[:16]) == vhdxParent {
			return 0, s.whole(s.bad("has a parent, which could be any file of the host"), vhdx)
		}
		if id := string(entry[:16]); id != vhdxParameters && id != vhdxDiskSize {
			continue
		}
		if offset > length || bytes < 8 || bytes > length-offset {
			return 0, s.damaged("metadata")
		}
		value, err := s.block(r, int64(at+offset), 8, size)
		if err != nil {
			return 0, err
		}
		if string(entry[:16]) == vhdxDiskSize {
			virtual = le.Uint64(value)
			continue
		}
		known = true
		if blockSize := le.Uint32(value); blockSize < 1<<20 || blockSize > 256<<20 || blockSize&(blockSize-1) != 0 {
			return 0, s.damaged("block size")
		}
		if le.Uint32(value[4:])&vhdxHasParent != 0 {
			return 0, s.whole(s.bad("has a parent, which could be any file of the host"), vhdx)
		}
	}
	if !known {
		return 0, s.damaged("metadata")
	}
	return virtual, nil
}

// vhdxRegion finds the metadata in a region table.
func (s subject) vhdxRegion(table []byte) (at, length uint64, err error) {
	le := binary.LittleEndian
	count := int(le.Uint32(table[8:]))
	if !bytes.HasPrefix(table, []byte("regi")) || count < 0 || count > vhdxMaxEntries {
		return 0, 0, s.damaged("region table")
	}
	for i := range count {
		entry := table[16+32*i:]
		if string(entry[:16]) == vhdxMetadata {
			return le.Uint64(entry[16:]), uint64(le.Uint32(entry[24:])), nil
		}
	}
	return 0, 0, s.damaged("region table")
}
