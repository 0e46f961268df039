package engine

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"

	"vmctl/pkg/fault"
)

// What of a qcow2's header says on which file it lies
// (https://www.qemu.org/docs/master/interop/qcow2.html).
const (
	qcow2Magic       = "QFI\xfb"
	qcow2NameAt      = 8  // 8 bytes: where the backing file's name stands
	qcow2NameLength  = 16 // 4 bytes
	qcow2ClusterBits = 20 // 4 bytes
	qcow2HeaderEnd   = 72 // of version 2
	qcow2LongestName = 1023
	qcow2MostBits    = 21
)

// rebased reads a qcow2's file with another name in it for the file that it lies on. The
// name stands behind all else in the first cluster, so that there is room for a longer one.
func rebased(file io.Reader, base string) (io.Reader, error) {
	bad := func(why string) error {
		return fault.New(fault.Refused, "the root disk cannot be copied: %s", why).
			WithHint("see what has become of its file on the host that it is on: qemu-img info shows it")
	}
	head := make([]byte, qcow2HeaderEnd)
	if _, err := io.ReadFull(file, head); err != nil || !strings.HasPrefix(string(head), qcow2Magic) {
		return nil, bad("its file is no qcow2")
	}
	bits := binary.BigEndian.Uint32(head[qcow2ClusterBits:])
	if bits < 9 || bits > qcow2MostBits {
		return nil, bad("its header is damaged")
	}
	cluster := make([]byte, 1<<bits)
	copy(cluster, head)
	if _, err := io.ReadFull(file, cluster[len(head):]); err != nil {
		return nil, bad("its file ends in the header")
	}
	at, length := binary.BigEndian.Uint64(head[qcow2NameAt:]), uint64(binary.BigEndian.Uint32(head[qcow2NameLength:]))
	switch end := at + max(length, uint64(len(base))); {
	case at == 0 || length == 0:
		return nil, bad("it lies on no image any more")
	case len(base) > qcow2LongestName || at < qcow2HeaderEnd || end < at || end > uint64(len(cluster)):
		return nil, bad("there is no room in its header for the name of the image")
	}
	clear(cluster[at : at+length])
	copy(cluster[at:], base)
	binary.BigEndian.PutUint32(cluster[qcow2NameLength:], uint32(len(base)))
	return io.MultiReader(bytes.NewReader(cluster), file), nil
}
