package image

import (
	"bytes"
	"encoding/binary"
	"io"
)

const (
	vhdFixed        = 2
	vhdDynamic      = 3
	vhdDifferencing = 4
	// vhdMaxSize is what the format can address: 2040 GiB.
	vhdMaxSize = 2040 << 30
)

// vhd takes fixed and dynamic VHD files (Virtual Hard Disk Image Format Specification
// 1.0). One with a parent is refused.
func (s subject) vhd(r io.ReaderAt, size int64) (uint64, error) {
	foot, err := s.block(r, size-sector, sector, size)
	if err != nil {
		return 0, err
	}
	first, err := s.block(r, 0, sector, size)
	if err != nil {
		return 0, err
	}
	// QEMU reads the first sector, and the last only if that is no header.
	atFront := bytes.HasPrefix(first, []byte("conectix"))
	if atFront {
		foot = first
	}
	be := binary.BigEndian
	at, virtual, diskType := be.Uint64(foot[16:]), be.Uint64(foot[48:]), be.Uint32(foot[60:])
	switch {
	case diskType == vhdDifferencing:
		return 0, s.whole(s.bad("has a parent, which could be any file of the host"), vhd)
	case virtual > vhdMaxSize:
		return 0, s.damaged("size")
	case diskType == vhdFixed && !atFront:
		if uint64(size)-sector != virtual {
			return 0, s.truncated()
		}
		return virtual, nil
	case diskType != vhdDynamic || !atFront:
		return 0, s.damaged("type")
	}
	if at > uint64(size) {
		return 0, s.truncated()
	}
	head, err := s.block(r, int64(at), 1024, size)
	if err != nil {
		return 0, err
	}
	tableAt, entries, blockSize := be.Uint64(head[16:]), uint64(be.Uint32(head[28:])), uint64(be.Uint32(head[32:]))
	switch {
	case !bytes.HasPrefix(head, []byte("cxsparse")):
		return 0, s.damaged("header")
	case !zero(head[40:56]): // the parent's UUID
		return 0, s.whole(s.bad("has a parent, which could be any file of the host"), vhd)
	case blockSize < sector || blockSize > 256<<20 || blockSize&(blockSize-1) != 0:
		return 0, s.damaged("block size")
	case entries > vhdMaxSize/sector/8 || entries*blockSize < virtual:
		return 0, s.damaged("block table")
	case tableAt > uint64(size) || 4*entries > uint64(size)-tableAt:
		return 0, s.truncated()
	}
	return virtual, nil
}
