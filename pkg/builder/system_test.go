package builder

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/fault"
	"vmctl/pkg/ssh"
)

func TestSystemOfAWrappedConfiguration(t *testing.T) {
	l := newNixOS(t, `{ networking.hostName = "shop"; vmctl.memorySize = 512; }`, nil)
	ref := l.ref()
	ref.Attr = "web"
	first, err := l.EvaluateSystem(t.Context(), ref, false)
	require.NoError(t, err)
	assert.NotEmpty(t, first.Spec)
	assert.NoFileExists(t, first.System, "nothing is built")
	assert.NoFileExists(t, first.OutPath)

	runs := l.runs()
	again, err := l.EvaluateSystem(t.Context(), ref, false)
	require.NoError(t, err)
	assert.True(t, again.Cached)
	assert.Equal(t, first.System, again.System)
	image, err := l.Evaluate(t.Context(), ref, false)
	require.NoError(t, err)
	assert.Equal(t, first.OutPath, image.OutPath)
	assert.Equal(t, runs, l.runs(), "no nix starts for what has not changed")

	roots := filepath.Join(t.TempDir(), "roots")
	path, err := l.BuildSystem(t.Context(), ref, roots, false)
	require.NoError(t, err)
	assert.Equal(t, first.System, path)
	assert.Equal(t, []string{path}, Kept(roots))
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Contains(t, string(text), `"hostName":"shop"`)
	assert.Contains(t, string(text), "vmctl-report", "vmctl's module stays in it")
	assert.NoFileExists(t, first.OutPath, "the image is not built")

	// The image has that system in it, and what was known of it stays known.
	res, err := l.build(ref)
	require.NoError(t, err)
	assert.Equal(t, first.OutPath, res.OutPath)
	built, err := os.ReadFile(res.Path)
	require.NoError(t, err)
	assert.Contains(t, string(built), path)
	runs = l.runs()
	again, err = l.EvaluateSystem(t.Context(), ref, false)
	require.NoError(t, err)
	assert.Equal(t, path, again.System)
	res, err = l.build(ref)
	require.NoError(t, err)
	assert.True(t, res.Cached)
	assert.Equal(t, runs, l.runs())

	l.write("images/test/configuration.nix", `{ networking.hostName = "other"; }`)
	changed, err := l.EvaluateSystem(t.Context(), ref, false)
	require.NoError(t, err)
	assert.NotEqual(t, first.System, changed.System)
	assert.NotEqual(t, first.OutPath, changed.OutPath)
	l.write("images/test/configuration.nix", `{ networking.hostNames = "other"; }`)
	_, err = l.EvaluateSystem(t.Context(), ref, false)
	require.ErrorContains(t, err, "hostNames")
	assert.Equal(t, fault.Build, fault.KindOf(err))
}

func TestSystemOfOwnImage(t *testing.T) {
	l := newLab(t, map[string]string{"flake.nix": fmt.Sprintf(`{
  outputs = { self }: {
    nixosConfigurations.web.config.system.build = { qcow2 = %s; toplevel = %s; };
    nixosConfigurations.bare.config.system.build.qcow2 = %s;
    packages.x86_64-linux.disk = %[1]s;
  };
}
`, drv("image", goodScript), drv("system", "mkdir $out"), drv("image", goodScript))})
	ref := l.ref()
	ref.Attr = "web"
	res, err := l.EvaluateSystem(t.Context(), ref, false)
	require.NoError(t, err)
	assert.True(t, strings.HasSuffix(res.System, "-system"), res.System)
	assert.True(t, strings.HasSuffix(res.OutPath, "-image"), res.OutPath)

	ref.Attr = "bare"
	_, err = l.EvaluateSystem(t.Context(), ref, false)
	require.ErrorContains(t, err, "toplevel")
	ref.Attr = "packages.x86_64-linux.disk"
	_, err = l.EvaluateSystem(t.Context(), ref, false)
	require.ErrorContains(t, err, "is no NixOS configuration")
	assert.Equal(t, fault.Refused, fault.KindOf(err))
}

// TestCopy has the real nix start an ssh that does not come far; a copy that arrives is
// looked at with a real guest.
func TestCopy(t *testing.T) {
	l := newLab(t, map[string]string{"flake.nix": goodFlake()})
	res, err := l.build(l.ref())
	require.NoError(t, err)
	program := filepath.Join(filepath.Dir(l.calls), "bin/ssh")
	argv := filepath.Join(t.TempDir(), "argv")
	for says, test := range map[string]struct {
		want string
		kind fault.Kind
	}{
		"sudo: a password is required":                       {"may not become root without a password", fault.Refused},
		"bash: nix-store: command not found":                 {"web has no nix", fault.Refused},
		"error: writing to file: No space left on device":    {"its disk is full", fault.Refused},
		"ssh: connect to host web port 22: Connection reset": {"could not be copied to web", fault.Other},
	} {
		require.NoError(t, os.WriteFile(program, fmt.Appendf(nil, "#!/bin/sh\necho \"$*\" >%s\necho '%s' >&2\nexit 255\n", argv, says), 0o755))
		_, err = l.Copy(t.Context(), res.OutPath, Target{Host: "web", Config: "/tmp/config", Machine: "web", Sudo: true})
		require.ErrorContains(t, err, test.want)
		assert.Equal(t, test.kind, fault.KindOf(err))
		got, err := os.ReadFile(argv)
		require.NoError(t, err)
		assert.Contains(t, string(got), "-F /tmp/config")
		assert.Contains(t, string(got), "sudo -n nix-store --serve --write")
	}
	assert.Equal(t, []string{
		"--extra-experimental-features", "nix-command", "copy", "--no-check-sigs", "--to", "ssh://web?remote-program=nix-store",
		"--log-format", "internal-json", "--", "/nix/store/x",
	}, l.copyArgv("/nix/store/x", Target{Host: "web"}))
	assert.Contains(t, strings.Join(l.copyArgv("/nix/store/x", Target{Host: "web", From: &There{Host: &ssh.Host{Name: "server"}}}), " "),
		"--from ssh://server --no-check-sigs --to ssh://web?")
	assert.Positive(t, l.sizes(t.Context(), []string{res.OutPath}, Target{}))
	assert.Equal(t, int64(3000448), parseSizes("/nix/store/a\t    3000112\n/nix/store/b\t   336\nwarning\n"))
	assert.Equal(t, "2 store paths, 1.0MiB", Copied{2, 1 << 20}.String())
	assert.Equal(t, "all of it was there", Copied{}.String())
}
