package iso_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/iso"
)

const sector = 2048

// list reads the root directory that the descriptor in a sector names: names by Rock
// Ridge's NM, or as they are.
func list(t *testing.T, image []byte, descriptor int) map[string][]byte {
	t.Helper()
	d := image[descriptor*sector:]
	require.Equal(t, "CD001", string(d[1:6]))
	root := d[156:]
	extent, size := binary.LittleEndian.Uint32(root[2:]), binary.LittleEndian.Uint32(root[10:])
	require.Equal(t, extent, binary.BigEndian.Uint32(root[6:]))
	directory := image[extent*sector : extent*sector+size]
	files := map[string][]byte{}
	for at := 0; at < len(directory); {
		length := int(directory[at])
		if length == 0 {
			at += sector - at%sector
			continue
		}
		record := directory[at : at+length]
		at += length
		if record[25]&2 != 0 {
			continue
		}
		id := record[33 : 33+int(record[32])]
		name := strings.TrimSuffix(strings.ReplaceAll(string(id), "\x00", ""), ";1")
		if i := bytes.Index(record, []byte("NM")); descriptor == 16 && i > 0 {
			name = string(record[i+5 : i+int(record[i+2])])
		}
		from := binary.LittleEndian.Uint32(record[2:]) * sector
		files[name] = image[from : from+binary.LittleEndian.Uint32(record[10:])]
	}
	return files
}

func TestWrite(t *testing.T) {
	want := map[string][]byte{}
	var files []iso.File
	for i := range 60 {
		f := iso.File{Name: fmt.Sprintf("%s.%d", strings.Repeat("Name-", i%15+1), i), Content: bytes.Repeat([]byte{byte(i)}, i*777)}
		files = append(files, f)
		want[f.Name] = f.Content
	}
	image, err := iso.Write("cidata", files)
	require.NoError(t, err)
	assert.Zero(t, len(image)%sector)
	for _, descriptor := range []int{16, 17} {
		got := list(t, image, descriptor)
		require.Len(t, got, len(want))
		for name, content := range want {
			assert.True(t, bytes.Equal(content, got[name]), name)
		}
	}
	assert.Equal(t, "cidata          ", string(image[16*sector+40:16*sector+56]))
	again, err := iso.Write("cidata", files)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(image, again))
	empty, err := iso.Write("x", nil)
	require.NoError(t, err)
	assert.Empty(t, list(t, empty, 16))
}

func TestWhatCannotBeWritten(t *testing.T) {
	for name, files := range map[string][]iso.File{
		"a slash": {{Name: "a/b"}}, "dots": {{Name: ".."}}, "empty": {{}}, "twice": {{Name: "a"}, {Name: "a"}},
		"long": {{Name: strings.Repeat("a", 101)}}, "large": {{Name: "a", Content: make([]byte, iso.MaxSize+1)}},
		"many": make([]iso.File, 1001),
	} {
		_, err := iso.Write("x", files)
		assert.Error(t, err, name)
	}
	_, err := iso.Write("a label that is too long", nil)
	assert.Error(t, err)
}
