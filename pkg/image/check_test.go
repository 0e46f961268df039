package image

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// sound is a qcow2 of version 3, 10 MiB large, with nothing in it.
func sound() []byte {
	b := make([]byte, 4<<16)
	be := binary.BigEndian
	copy(b, "QFI\xfb")
	be.PutUint32(b[4:], 3)
	be.PutUint32(b[20:], 16)
	be.PutUint64(b[24:], 10<<20)
	be.PutUint32(b[36:], 1)
	be.PutUint64(b[40:], 3<<16)
	be.PutUint64(b[48:], 1<<16)
	be.PutUint32(b[56:], 1)
	be.PutUint32(b[96:], 4)
	be.PutUint32(b[100:], 112)
	return b
}

func with(at int, value uint64, width int) func([]byte) []byte {
	return func(b []byte) []byte {
		if width == 4 {
			binary.BigEndian.PutUint32(b[at:], uint32(value))
		} else {
			binary.BigEndian.PutUint64(b[at:], value)
		}
		return b
	}
}

func extension(kind, length uint32) func([]byte) []byte {
	return func(b []byte) []byte {
		binary.BigEndian.PutUint32(b[112:], kind)
		binary.BigEndian.PutUint32(b[116:], length)
		return b
	}
}

func cut(n int) func([]byte) []byte { return func(b []byte) []byte { return b[:n] } }

func disk(size int) []byte {
	b := make([]byte, size)
	b[510], b[511] = 0x55, 0xaa
	return b
}

func file(size int, at int, magic string) func([]byte) []byte {
	return func([]byte) []byte {
		b := make([]byte, size)
		copy(b[at:], magic)
		return b
	}
}

func TestCheckRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		make    func([]byte) []byte
		message string
		hint    string
	}{
		"empty":                   {cut(0), "is empty", "again"},
		"only the magic":          {cut(4), "cut short", "again"},
		"half a header":           {cut(60), "cut short", "again"},
		"version 3 of 80 bytes":   {cut(80), "cut short", "again"},
		"no tables":               {cut(4096), "cut short", "again"},
		"half an L1 table":        {cut(3<<16 + 4), "cut short", "again"},
		"version 1":               {with(4, 1, 4), "too old", "qemu-img convert -f qcow -O qcow2"},
		"version 4":               {with(4, 4, 4), "version 4", "2 and 3"},
		"backing file":            {with(8, 512, 8), "backing file", "qemu-img convert -f qcow2 -O qcow2 disk.img disk.img.qcow2"},
		"data file":               {with(72, 4, 8), "data in another file", "qemu-img convert"},
		"data file by extension":  {extension(extensionDataFile, 8), "data in another file", "qemu-img convert"},
		"AES":                     {with(32, 1, 4), "encrypted", "decrypt"},
		"LUKS inside":             {with(32, 2, 4), "encrypted", "decrypt"},
		"crypto extension":        {extension(extensionCrypto, 16), "encrypted", "decrypt"},
		"corrupt":                 {with(72, 2, 8), "marked as corrupt", "qemu-img check -f qcow2 -r all disk.img"},
		"dirty":                   {with(72, 1, 8), "not closed properly", "qemu-img check -f qcow2 -r all disk.img"},
		"unknown feature":         {with(72, 1<<5, 8), "bit 5", "convert"},
		"last unknown feature":    {with(72, 1<<63, 8), "bit 63", "convert"},
		"clusters too small":      {with(20, 8, 4), "cluster size", ""},
		"clusters too large":      {with(20, 22, 4), "cluster size", ""},
		"clusters beyond reason":  {with(20, 0xffffffff, 4), "cluster size", ""},
		"no size":                 {with(24, 0, 8), "0 bytes", ""},
		"huge":                    {with(24, 1<<47, 8), "64TiB", ""},
		"huger":                   {with(24, 1<<63, 8), "64TiB", ""},
		"L1 too large":            {with(36, 0x7fffffff, 4), "L1 table", ""},
		"L1 beyond the file":      {with(36, 1<<20, 4), "cut short", ""},
		"L1 too small":            {with(24, 1<<40, 8), "L1 table", ""},
		"no L1":                   {with(36, 0, 4), "L1 table", ""},
		"L1 unaligned":            {with(40, 3<<16+8, 8), "L1 table", ""},
		"L1 in the header":        {with(40, 0, 8), "L1 table", ""},
		"L1 past the end":         {with(40, 1<<40, 8), "cut short", ""},
		"L1 at the end of time":   {with(40, 0xffffffffffff0000, 8), "cut short", ""},
		"refcounts past the end":  {with(48, 1<<40, 8), "cut short", ""},
		"refcounts unaligned":     {with(48, 1, 8), "reference count", ""},
		"refcounts too large":     {with(56, 0xffffffff, 4), "reference count", ""},
		"no refcounts":            {with(56, 0, 4), "reference count", ""},
		"refcount order":          {with(96, 7, 4), "reference count", ""},
		"header too short":        {with(100, 8, 4), "header length", ""},
		"header odd":              {with(100, 105, 4), "header length", ""},
		"header too long":         {with(100, 1<<20, 4), "header length", ""},
		"too many snapshots":      {with(60, 1<<20, 4), "snapshot", ""},
		"snapshots past the end":  {func(b []byte) []byte { return with(64, 1<<30, 8)(with(60, 1, 4)(b)) }, "cut short", ""},
		"extension too long":      {extension(0x6803f857, 1<<20), "extensions", ""},
		"extension of 4 GiB":      {extension(0x12345678, 0xffffffff), "extensions", ""},
		"endless extensions":      {func(b []byte) []byte { return append(b[:112], bytes.Repeat([]byte{1, 2, 3, 4, 0, 0, 0, 0}, 30000)...) }, "extensions", ""},
		"VMDK":                    {file(4096, 0, "KDMV"), "a VMDK", "qemu-img convert -f vmdk -O qcow2"},
		"VMDK description":        {file(4096, 0, "# Disk DescriptorFile\n"), "VMDK description", ""},
		"VHDX":                    {file(4096, 0, "vhdxfile"), "a VHDX", "-f vhdx"},
		"VHD":                     {file(4096, 0, "conectix"), "a VHD", "-f vpc"},
		"VDI":                     {file(4096, 64, "\x7f\x10\xda\xbe"), "a VDI", "-f vdi"},
		"QED":                     {file(4096, 0, "QED\x00"), "a QED", "-f qed"},
		"LUKS":                    {file(4096, 0, "LUKS\xba\xbe"), "LUKS", ""},
		"ISO":                     {file(1<<16, 32769, "CD001"), "ISO", ""},
		"gzip":                    {file(4096, 0, "\x1f\x8b\x08"), "gzip", "gzip -dk disk.img"},
		"xz":                      {file(4096, 0, "\xfd7zXZ\x00"), "xz", "xz -dk"},
		"zstd":                    {file(4096, 0, "\x28\xb5\x2f\xfd"), "zstd", "zstd -d"},
		"ELF":                     {file(4096, 0, "\x7fELF"), "ELF", ""},
		"tar":                     {file(4096, 257, "ustar"), "tar", "tar -xf"},
		"LFS":                     {file(130, 0, "version https://git-lfs.github.com/spec/v1\n"), "LFS", "git lfs"},
		"web page":                {file(300, 0, "\n<!DOCTYPE html><title>404"), "web page", "download"},
		"one byte":                {file(1, 0, "x"), "not a qcow2", "file disk.img"},
		"zeros":                   {file(1<<20, 0, ""), "not a qcow2", "file disk.img"},
		"raw of an odd length":    {func([]byte) []byte { return disk(1000) }, "cut short", "again"},
		"extended L2, small ones": {func(b []byte) []byte { return with(20, 12, 4)(with(72, 16, 8)(b)) }, "cluster size", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := c.make(sound())
			_, err := Check(bytes.NewReader(b), int64(len(b)))
			require.Error(t, err)
			assert.Equal(t, fault.Build, fault.KindOf(err))
			assert.Contains(t, err.Error(), c.message)
			assert.Contains(t, fault.HintOf(err), c.hint)
			assert.NotEmpty(t, fault.HintOf(err))
		})
	}
}

func TestCheckTakes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		data   []byte
		format string
		size   spec.Size
	}{
		"version 3":   {sound(), Qcow2, 10 * spec.MiB},
		"version 2":   {with(4, 2, 4)(with(72, 0, 8)(sound())), Qcow2, 10 * spec.MiB},
		"zstd":        {with(72, 8, 8)(sound()), Qcow2, 10 * spec.MiB},
		"extended L2": {with(72, 16, 8)(sound()), Qcow2, 10 * spec.MiB},
		"compatible":  {with(80, 0xffffffff, 8)(sound()), Qcow2, 10 * spec.MiB},
		"MBR":         {disk(1 << 20), Raw, spec.MiB},
		"GPT":         {file(1<<20, 512, "EFI PART")(nil), Raw, spec.MiB},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			info, err := Check(bytes.NewReader(c.data), int64(len(c.data)))
			require.NoError(t, err)
			assert.Equal(t, Info{c.format, c.size}, info)
		})
	}
}

// need gives the path of a tool; where CI is set it must be there.
func need(t testing.TB, tool string) string {
	path, err := exec.LookPath(tool)
	if err != nil && os.Getenv("CI") == "" {
		t.Skipf("%s is not installed", tool)
	}
	require.NoError(t, err)
	return path
}

func run(t testing.TB, dir, tool string, args ...string) []byte {
	cmd := exec.CommandContext(t.Context(), need(t, tool), args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	require.NoErrorf(t, err, "%s", out)
	return out
}

func create(t testing.TB, options string, more ...string) string {
	dir := t.TempDir()
	args := []string{"create", "-q", "-f", "qcow2"}
	if options != "" {
		args = append(args, "-o", options)
	}
	args = append(append(args, more...), "a.qcow2", "10M")
	if strings.Contains(options, "luks") {
		// QEMU times a few milliseconds of work, by a clock that ticks every few; see pkg/libvirt.
		const again = `for i in $(seq 19); do qemu-img "$@" && exit; done; exec qemu-img "$@"`
		run(t, dir, "sh", append([]string{"-c", again, "sh"}, args...)...)
	} else {
		run(t, dir, "qemu-img", args...)
	}
	return filepath.Join(dir, "a.qcow2")
}

func TestImagesMadeByQEMU(t *testing.T) {
	t.Parallel()
	for options, refused := range map[string]string{
		"": "", "compat=0.10": "", "compat=1.1,lazy_refcounts=on": "", "compression_type=zstd": "", "extended_l2=on": "",
		"cluster_size=512": "", "cluster_size=2M": "", "refcount_bits=64": "", "preallocation=metadata": "",
		"data_file=d.raw": "data in another file", "data_file=d.raw,data_file_raw=on": "data in another file",
	} {
		t.Run(options, func(t *testing.T) {
			t.Parallel()
			path := create(t, options)
			img, err := Open(t.Context(), path, Options{})
			if refused == "" {
				require.NoError(t, err)
				assert.Equal(t, 10*spec.MiB, img.Size)
				return
			}
			require.ErrorContains(t, err, refused)
		})
	}
	t.Run("backing", func(t *testing.T) {
		t.Parallel()
		base := create(t, "")
		dir := filepath.Dir(base)
		run(t, dir, "qemu-img", "create", "-q", "-f", "qcow2", "-b", "a.qcow2", "-F", "qcow2", "b.qcow2")
		_, err := Open(t.Context(), filepath.Join(dir, "b.qcow2"), Options{})
		require.ErrorContains(t, err, "backing file")
		// The hint's own command makes it acceptable.
		run(t, dir, "sh", "-c", strings.TrimPrefix(fault.HintOf(err), "if you trust it, make it whole: "))
		_, err = Open(t.Context(), filepath.Join(dir, "b-converted.qcow2"), Options{})
		require.NoError(t, err)
	})
	t.Run("luks", func(t *testing.T) {
		t.Parallel()
		path := create(t, "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10", "--object", "secret,id=s,data=x")
		_, err := Open(t.Context(), path, Options{})
		require.ErrorContains(t, err, "encrypted")
	})
	t.Run("snapshot", func(t *testing.T) {
		t.Parallel()
		path := create(t, "")
		run(t, "", "qemu-img", "snapshot", "-c", "s", path)
		_, err := Open(t.Context(), path, Options{})
		require.NoError(t, err)
	})
	t.Run("foreign formats", func(t *testing.T) {
		t.Parallel()
		for _, format := range []string{"vmdk", "vhdx", "vdi", "vpc", "qed", "qcow"} {
			path := filepath.Join(t.TempDir(), "x."+format)
			run(t, "", "qemu-img", "create", "-q", "-f", format, path, "10M")
			_, err := Open(t.Context(), path, Options{})
			require.Error(t, err, format)
			assert.Contains(t, fault.HintOf(err), "qemu-img convert -f "+format+" -O qcow2", format)
		}
	})
}

// Wherever an image with data is cut, it is refused; only the padding behind the
// last cluster's beginning cannot be missed.
func TestTruncationIsSeen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	raw := make([]byte, 3<<20)
	for i := range raw {
		raw[i] = byte(i * 7 >> 3)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "raw"), raw, 0o600))
	for _, flag := range []string{"-q", "-c"} {
		run(t, dir, "qemu-img", "convert", flag, "-f", "raw", "-O", "qcow2", "raw", "a.qcow2")
		path := filepath.Join(dir, "a.qcow2")
		whole, err := os.ReadFile(path)
		require.NoError(t, err)
		_, err = Open(t.Context(), path, Options{})
		require.NoError(t, err)
		for size := 0; size < len(whole)-(64<<10); size += 8111 {
			s := subjectOf("a.qcow2")
			r := bytes.NewReader(whole[:size])
			_, err := subjectOf("a.qcow2").check(r, int64(size))
			if err == nil {
				err = s.clusters(t.Context(), r, int64(size))
			}
			require.Error(t, err, size)
			require.Equal(t, fault.Build, fault.KindOf(err))
		}
	}
}

func TestHostileL1IsNotReadForEver(t *testing.T) {
	t.Parallel()
	b := with(24, 1<<40, 8)(with(36, 4096, 4)(sound()))
	for i := range 4096 {
		binary.BigEndian.PutUint64(b[3<<16+8*i:], 2<<16)
	}
	s := subjectOf("x")
	r := bytes.NewReader(b)
	_, err := subjectOf("x").check(r, int64(len(b)))
	require.NoError(t, err)
	require.ErrorContains(t, s.clusters(t.Context(), r, int64(len(b))), "damaged")
}

func FuzzCheck(f *testing.F) {
	f.Add(sound())
	f.Add(sound()[:200])
	f.Add(disk(1024))
	f.Add(with(8, 512, 8)(sound()))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		info, err := Check(r, int64(len(b)))
		if err != nil {
			require.Equal(t, fault.Build, fault.KindOf(err))
			return
		}
		require.Positive(t, info.VirtualSize)
		require.LessOrEqual(t, info.VirtualSize, maxVirtual)
		if info.Format == Qcow2 {
			require.Zero(t, binary.BigEndian.Uint64(b[8:]), "a backing file")
			_ = subjectOf("x").clusters(t.Context(), r, int64(len(b)))
		}
	})
}

func BenchmarkCheckAllocations(b *testing.B) {
	data := sound()
	b.ReportAllocs()
	for b.Loop() {
		_, _ = Check(bytes.NewReader(data), int64(len(data)))
	}
}
