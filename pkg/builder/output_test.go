package builder

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/fault"
)

func TestFindImage(t *testing.T) {
	for name, test := range map[string]struct {
		files map[string]string // "->x" links, "dir" and "fifo" make those, else content; $out is the output
		want  string
		err   string
	}{
		"hydra-build-products": {
			files: map[string]string{"a.img": "", "b.qcow2": "", "nix-support/hydra-build-products": "file qcow2-image $out/b.qcow2\n"},
			want:  "b.qcow2",
		},
		"the only image":          {files: map[string]string{"nixos.img": "", "readme.txt": "", "nix-support/x": ""}, want: "nixos.img"},
		"products name no file":   {files: map[string]string{"nixos.img": "", "nix-support/hydra-build-products": "file qcow2-image $out/gone.qcow2\n"}, want: "nixos.img"},
		"products lead out":       {files: map[string]string{"nixos.img": "", "nix-support/hydra-build-products": "file qcow2-image /etc/passwd\nfile qcow2-image $out/../other/x.qcow2\n"}, want: "nixos.img"},
		"link within the store":   {files: map[string]string{"nixos.qcow2": "->../other/x.qcow2"}, want: "../other/x.qcow2"},
		"link out of the store":   {files: map[string]string{"nixos.qcow2": "->/etc/passwd"}, err: `holds no disk image, only: "nixos.qcow2"`},
		"a directory is no image": {files: map[string]string{"nixos.qcow2": "dir"}, err: "holds no disk image"},
		"a pipe is no image":      {files: map[string]string{"nixos.qcow2": "fifo"}, err: "holds no disk image"},
		"several":                 {files: map[string]string{"a.img": "", "b.raw": ""}, err: "holds several images: a.img, b.raw"},
		"compressed":              {files: map[string]string{"a.raw.zst": "", "repart-output.json": ""}, want: "a.raw.zst"},
		"a packed something":      {files: map[string]string{"a.tar.zst": ""}, err: `holds no disk image, only: "a.tar.zst"`},
		"empty":                   {err: "holds no disk image, only: nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			store := t.TempDir()
			out := filepath.Join(store, "out")
			require.NoError(t, os.Mkdir(out, 0o755))
			require.NoError(t, os.Mkdir(filepath.Join(store, "other"), 0o755))
			require.NoError(t, os.WriteFile(filepath.Join(store, "other/x.qcow2"), nil, 0o644))
			for file, content := range test.files {
				path := filepath.Join(out, file)
				require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
				target, link := strings.CutPrefix(content, "->")
				switch {
				case link:
					require.NoError(t, os.Symlink(target, path))
				case content == "dir":
					require.NoError(t, os.Mkdir(path, 0o755))
				case content == "fifo":
					require.NoError(t, syscall.Mkfifo(path, 0o600))
				default:
					require.NoError(t, os.WriteFile(path, []byte(strings.ReplaceAll(content, "$out", out)), 0o644))
				}
			}
			path, err := findImage(out)
			if test.err != "" {
				require.ErrorContains(t, err, out+" "+test.err)
				var several *severalError
				require.ErrorAs(t, err, &several)
				assert.Equal(t, fault.Build, fault.KindOf(several.fault()))
				assert.NotEmpty(t, fault.HintOf(several.fault()))
				return
			}
			require.NoError(t, err)
			assert.Equal(t, filepath.Join(out, test.want), path)
		})
	}
	t.Run("the output is the image", func(t *testing.T) {
		out := filepath.Join(t.TempDir(), "disk")
		require.NoError(t, os.WriteFile(out, nil, 0o644))
		path, err := findImage(out)
		require.NoError(t, err)
		assert.Equal(t, out, path)
	})
	t.Run("no output", func(t *testing.T) {
		_, err := findImage(filepath.Join(t.TempDir(), "gone"))
		require.ErrorContains(t, err, "cannot be read")
		assert.Equal(t, fault.Build, fault.KindOf(err))
	})
}

func TestFilePathDecides(t *testing.T) {
	value := drv("image", "mkdir $out; echo 1 > $out/a.img; echo 2 > $out/b.img") + ` // { passthru.filePath = "b.img"; }`
	l := newLab(t, map[string]string{"flake.nix": flakeOf(map[string]string{"test": value})})
	res, err := l.build(l.ref())
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(res.OutPath, "b.img"), res.Path)
}

func TestSeveralImages(t *testing.T) {
	l := newLab(t, map[string]string{"flake.nix": flakeOf(map[string]string{"test": drv("image", "mkdir $out; echo 1 > $out/a.img; echo 2 > $out/b.img")})})
	_, err := l.build(l.ref())
	require.ErrorContains(t, err, "holds several images: a.img, b.img")
	assert.Equal(t, fault.Build, fault.KindOf(err))
}

func FuzzParseProducts(f *testing.F) {
	f.Add("file qcow2-image /nix/store/x/nixos.qcow2\n")
	f.Add("file \"a b\" \"/x y/z.img\"\r\nreport x /y\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, path := range parseProducts(text) {
			assert.True(t, filepath.IsAbs(path))
			assert.Equal(t, filepath.Clean(path), path)
			assert.NotContains(t, path, "\n")
		}
	})
}
