package image

import (
	"encoding/binary"
	"io"
)

// vdi takes dynamic and fixed VDI files (VirtualBox: VDICore.h, QEMU: block/vdi.c).
// One with a parent is refused.
func (s subject) vdi(r io.ReaderAt, size int64) (uint64, error) {
	head, err := s.block(r, 0, 512, size)
	if err != nil {
		return 0, err
	}
	le := binary.LittleEndian
	version, imageType := le.Uint32(head[0x44:]), le.Uint32(head[0x4c:])
	mapAt, dataAt := uint64(le.Uint32(head[0x154:])), uint64(le.Uint32(head[0x158:]))
	virtual, blockSize, blocks := le.Uint64(head[0x170:]), uint64(le.Uint32(head[0x178:])), uint64(le.Uint32(head[0x180:]))
	switch {
	case version != 0x00010001:
		return 0, s.bad("is a VDI of version %d.%d, which is not known", version>>16, version&0xffff).WithHint("vmctl takes version 1.1")
	case imageType != 1 && imageType != 2, !zero(head[0x1a8:0x1c8]):
		return 0, s.whole(s.bad("has a parent, which could be any file of the host"), vdi)
	case blockSize != 1<<20:
		return 0, s.damaged("block size")
	case virtual > uint64(maxVirtual), virtual > blocks*blockSize, blocks*blockSize-virtual >= blockSize:
		return 0, s.damaged("size")
	case mapAt%sector != 0, dataAt%sector != 0, mapAt < 0x1c8, dataAt < mapAt+4*blocks:
		return 0, s.damaged("block map")
	case dataAt > uint64(size):
		return 0, s.truncated()
	}
	return virtual, nil
}

func zero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
