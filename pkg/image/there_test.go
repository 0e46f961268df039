package image

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

const (
	outThere  = "/nix/store/smqsjbk3m299jyl0fay93h7i8riqhmi6-image"
	headThere = 1 << 20
	tailThere = 64 << 10
)

// there is a file on another machine with this content.
func there(path string, content []byte) There {
	return There{
		Path: path, OutPath: outThere, Source: "images/x", Size: int64(len(content)), Open: true,
		Head: content[:min(len(content), headThere)], Tail: content[max(0, len(content)-tailThere):],
	}
}

func TestFromThere(t *testing.T) {
	raw := disk(3 << 20)
	img, err := FromThere(there(outThere+"/disk.raw", raw))
	require.NoError(t, err)
	assert.Equal(t, Raw, img.Format)
	assert.Equal(t, spec.Size(3<<20), img.Size)
	assert.True(t, img.OnHost && img.InPlace)
	assert.True(t, strings.HasPrefix(img.ID, "nix-smqsjbk3m299jyl0fay93h7i8riqhmi6-"))

	closed := there(outThere+"/disk.raw", raw)
	closed.Open = false
	packed := append([]byte("\x1f\x8b"), raw...)
	vhd := append(bytes.Clone(raw), append([]byte("conectix"), make([]byte, 504)...)...)
	for name, tc := range map[string]struct {
		of   There
		kind fault.Kind
	}{
		"QEMU may not read it": {closed, fault.Refused},
		"packed":               {there(outThere+"/disk.raw", packed), fault.Refused},
		"a VHD":                {there(outThere+"/disk.raw", vhd), fault.Refused},
		"outside of the store": {there("/etc/shadow", raw), fault.Build},
		"no disk":              {there(outThere+"/disk.raw", make([]byte, 3<<20)), fault.Build},
		"another name":         {there(outThere+"/disk.qcow2", raw), fault.Build},
		"empty":                {there(outThere+"/disk.raw", nil), fault.Build},
	} {
		_, err := FromThere(tc.of)
		assert.Equal(t, tc.kind, fault.KindOf(err), "%s: %v", name, err)
	}
}

// FuzzThere: a host may say what it likes of an image; what is taken has a known format.
func FuzzThere(f *testing.F) {
	f.Add(outThere+"/disk.raw", disk(4096), int64(4096))
	f.Add(outThere+"/nixos.qcow2", []byte("QFI\xfb\x00\x00\x00\x03"), int64(1<<30))
	f.Fuzz(func(t *testing.T, path string, content []byte, size int64) {
		of := there(path, content)
		of.Size = size
		img, err := FromThere(of)
		if err == nil {
			assert.Contains(t, []string{Raw, Qcow2}, img.Format)
		}
	})
}
