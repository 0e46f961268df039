package engine

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// overlay is a qcow2 with a backing file's name at 200 in its first cluster of 512 bytes.
func overlay(name string) []byte {
	file := make([]byte, 1024)
	copy(file, qcow2Magic)
	binary.BigEndian.PutUint32(file[4:], 3)
	binary.BigEndian.PutUint64(file[qcow2NameAt:], 200)
	binary.BigEndian.PutUint32(file[qcow2NameLength:], uint32(len(name)))
	binary.BigEndian.PutUint32(file[qcow2ClusterBits:], 9)
	copy(file[200:], name)
	copy(file[512:], "what the guest wrote")
	return file
}

func TestRebased(t *testing.T) {
	for _, name := range []string{"/b", "/a/much/longer/name/than/there/was.qcow2"} {
		r, err := rebased(bytes.NewReader(overlay("/nix/store/x")), name)
		require.NoError(t, err)
		got, err := io.ReadAll(r)
		require.NoError(t, err)
		assert.Equal(t, overlay(name), got)
	}
	for why, file := range map[string][]byte{
		"its file is no qcow2":              []byte("raw"),
		"its header is damaged":             append([]byte(qcow2Magic), make([]byte, 100)...),
		"its file ends in the header":       overlay("/a")[:300],
		"it lies on no image any more":      overlay(""),
		"there is no room in its header":    overlay("/a"),
		"there is no room in its header ":   binary.BigEndian.AppendUint64(overlay("/a")[:8:8], 1<<63),
		"there is no room in its header  ":  binary.BigEndian.AppendUint64(overlay("/a")[:8:8], 1),
		"there is no room in its header   ": binary.BigEndian.AppendUint64(overlay("/a")[:8:8], 1<<64-1),
	} {
		if strings.HasSuffix(why, " ") {
			file = append(file, overlay("/a")[16:]...)
		}
		_, err := rebased(bytes.NewReader(file), strings.Repeat("x", 400))
		require.ErrorContains(t, err, strings.TrimSpace(why))
	}
}

func FuzzRebased(f *testing.F) {
	f.Add(overlay("/a"), "/b")
	f.Fuzz(func(t *testing.T, file []byte, name string) {
		r, err := rebased(bytes.NewReader(file), name)
		if err != nil {
			return
		}
		got, err := io.ReadAll(r)
		require.NoError(t, err)
		assert.Len(t, got, len(file))
	})
}
