package image

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/fault"
	"vmctl/pkg/image/cache"
)

// fuzzGate feeds a format's gate: it says yes to nothing that is beyond its bounds, and no
// with a hint.
func fuzzGate(f *testing.F, k kind, seeds ...[]byte) {
	f.Helper()
	for _, seed := range seeds {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		virtual, err := subjectOf("disk").gate(k, bytes.NewReader(data), int64(len(data)))
		if err != nil {
			require.Equal(t, fault.Build, fault.KindOf(err))
			require.NotEmpty(t, fault.HintOf(err))
			return
		}
		require.Positive(t, virtual)
		require.LessOrEqual(t, virtual, maxVirtual)
		if k == vmdk {
			require.False(t, bytes.Contains(data[512:min(len(data), 512+20*512)], []byte("parentFileNameHint")))
		}
	})
}

// vmdkSeed is a VMDK of 10 MiB with nothing in it.
func vmdkSeed() []byte {
	b := make([]byte, 64<<10)
	copy(b, "KDMV")
	for at, value := range map[int]uint64{4: 1, 12: 20480, 20: 128, 28: 1, 36: 20, 56: 26} {
		little(at, value, 4)(b)
	}
	little(44, 512, 4)(b)
	copy(b[512:], "# Disk DescriptorFile\nversion=1\nCID=95ce22ba\nparentCID=ffffffff\ncreateType=\"monolithicSparse\"\n\n# Extent description\nRW 20480 SPARSE \"x.vmdk\"\n")
	return b
}

func TestTheSeedsAreTaken(t *testing.T) {
	t.Parallel()
	for k, seed := range map[kind][]byte{vmdk: vmdkSeed(), vdi: vdiSeed(), vhd: vhdSeed()} {
		_, err := subjectOf("disk").gate(k, bytes.NewReader(seed), int64(len(seed)))
		require.NoError(t, err, k)
	}
}

func vdiSeed() []byte {
	b := make([]byte, 2048)
	for at, value := range map[int]uint64{0x40: 0xbeda107f, 0x44: 0x10001, 0x48: 0x180, 0x4c: 1, 0x154: 0x200, 0x158: 0x400, 0x168: 512, 0x170: 10 << 20, 0x178: 1 << 20, 0x180: 10} {
		little(at, value, 4)(b)
	}
	return b
}

func vhdSeed() []byte {
	b := make([]byte, 4096)
	copy(b, "conectix")
	with(16, 512, 8)(b)
	with(48, 10<<20, 8)(b)
	with(60, 3, 4)(b)
	copy(b[512:], "cxsparse")
	with(512+16, 2048, 8)(b)
	with(512+28, 5, 4)(b)
	with(512+32, 2<<20, 4)(b)
	copy(b[4096-512:], b[:512])
	return b
}

func FuzzVMDK(f *testing.F) {
	fuzzGate(f, vmdk, vmdkSeed(), []byte("# Disk DescriptorFile\n"), footer(func(b []byte) []byte { return b })(vmdkSeed()))
}
func FuzzVDI(f *testing.F) { fuzzGate(f, vdi, vdiSeed()) }
func FuzzVHD(f *testing.F) { fuzzGate(f, vhd, vhdSeed(), append(disk(1024), vhdSeed()[:512]...)) }
func FuzzVHDX(f *testing.F) {
	b := make([]byte, 320<<10)
	copy(b, "vhdxfile")
	copy(b[vhdxRegions:], "regi")
	little(vhdxRegions+8, 1, 4)(b)
	copy(b[vhdxRegions+16:], vhdxMetadata)
	little(vhdxRegions+32, 256<<10, 8)(b)
	little(vhdxRegions+40, 64<<10, 4)(b)
	copy(b[256<<10:], "metadata")
	little(256<<10+10, 1, 2)(b)
	copy(b[256<<10+32:], vhdxParameters)
	fuzzGate(f, vhdx, b)
}

// Whatever the bytes and however they come, what is written is what came, holes or not.
func FuzzUnpacked(f *testing.F) {
	f.Add(disk(20_000), 4096, 1)
	f.Add(partly()[:70_000], 1000, 30)
	f.Add(bytes.Repeat([]byte{1, 0}, 9000), 1, 8191)
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte, piece, stretch int) {
		// Zeros in stretches: that is where holes begin and end.
		data = bytes.ReplaceAll(data, []byte{7}, make([]byte, min(max(stretch, 1), 9000)))
		out, err := os.Create(filepath.Join(dir, "out"))
		require.NoError(t, err)
		defer out.Close()
		u := &unpacked{
			subject: subjectOf("x.img"), stop: func() error { return nil }, out: out, dir: cache.Dir(dir), hash: sha256.New(), limit: 1 << 30, looked: true,
		}
		for rest := data; len(rest) > 0; {
			n := min(max(piece%100_000, 1), len(rest))
			_, err := u.Write(rest[:n])
			require.NoError(t, err)
			rest = rest[n:]
		}
		sum, err := u.finish()
		if len(data) == 0 {
			require.ErrorContains(t, err, "is empty")
			return
		}
		require.NoError(t, err)
		want := sha256.Sum256(data)
		assert.Equal(t, hex.EncodeToString(want[:]), sum)
		got, err := os.ReadFile(out.Name())
		require.NoError(t, err)
		assert.True(t, bytes.Equal(data, got))
	})
}

// A name and what is in the file agree, or are refused with a hint.
func FuzzSniff(f *testing.F) {
	f.Add("disk.qcow2", sound()[:600])
	f.Add("disk.raw.zst", packZstd(disk(1024)))
	f.Add("x", []byte("conectix"))
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		k := sniff(data, data[max(0, len(data)-512):])
		err := subjectOf(name).agrees(k)
		if err != nil {
			require.NotEmpty(t, fault.HintOf(err))
		}
		_, rest := said(name)
		require.LessOrEqual(t, len(rest), len(name))
	})
}

func FuzzPercent(f *testing.F) {
	f.Add("    (50.00/100%)")
	f.Add("(nan/100%)")
	f.Add("(-1/100%)")
	f.Fuzz(func(t *testing.T, line string) {
		part, ok := percent(line)
		if ok {
			require.True(t, part >= 0 && part <= 100)
		}
	})
}
