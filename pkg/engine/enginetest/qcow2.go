package enginetest

import (
	"encoding/binary"
	"strings"
)

// The fake's qcow2 files have a header that says on which file they lie, and no more.
const (
	qcow2Magic   = "QFI\xfb"
	qcow2Cluster = 1 << qcow2Bits
	qcow2Bits    = 10
	qcow2Name    = 104
)

// newQcow2 is an empty qcow2 that lies on a file, or on none.
func newQcow2(backing string) []byte {
	file := make([]byte, qcow2Cluster)
	copy(file, qcow2Magic)
	binary.BigEndian.PutUint32(file[4:], 3)
	binary.BigEndian.PutUint32(file[20:], qcow2Bits)
	if backing != "" {
		binary.BigEndian.PutUint64(file[8:], qcow2Name)
		binary.BigEndian.PutUint32(file[16:], uint32(len(backing)))
		copy(file[qcow2Name:], backing)
	}
	return file
}

// lying is the name of the file on which a qcow2 lies; ok says that it is one.
func lying(file []byte) (backing string, ok bool) {
	if len(file) < qcow2Cluster || !strings.HasPrefix(string(file), qcow2Magic) {
		return "", false
	}
	at, length := binary.BigEndian.Uint64(file[8:]), uint64(binary.BigEndian.Uint32(file[16:]))
	if at == 0 || at+length > qcow2Cluster {
		return "", true
	}
	return string(file[at : at+length]), true
}
