package screen_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/screen"
)

var vnc = engine.Screen{Kind: "vnc", Address: "127.0.0.1", Port: 5901}

func TestTunnel(t *testing.T) {
	for uri, want := range map[string]string{
		"qemu:///system":                               "",
		"qemu+tls://server.example.org/system":         "",
		"qemu+ssh://me@server.example.org/system":      "ssh -N -L 5901:127.0.0.1:5901 me@server.example.org",
		"qemu+ssh://server.example.org:2200/system?x=": "ssh -N -L 5901:127.0.0.1:5901 -p 2200 server.example.org",
	} {
		assert.Equal(t, want, screen.Tunnel(uri, vnc), uri)
	}
	assert.Equal(t, "spice://[::1]:5900", screen.URL(engine.Screen{Kind: "spice", Address: "::1", Port: 5900}))
}

func TestViewer(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	display := func(name string) string { return map[string]string{"DISPLAY": ":0"}[name] }
	none := func(string) string { return "" }
	here := &engine.Host{URI: "qemu:///system", Local: true}
	there := &engine.Host{URI: "qemu+ssh://server.example.org/system"}
	assert.Empty(t, screen.Viewer(here, "web", vnc, display), "no program")

	script := func(name, text string) string {
		file := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(file, []byte("#!/bin/sh\n"+text), 0o755))
		return file
	}
	remote := script("remote-viewer", "exit 0")
	assert.Equal(t, []string{remote, "vnc://127.0.0.1:5901"}, screen.Viewer(here, "web", vnc, display))
	assert.Empty(t, screen.Viewer(there, "web", vnc, display), "it finds no way to a remote host")
	virt := script("virt-viewer", "echo no screen >&2; exit 1")
	assert.Equal(t, []string{virt, "--connect", there.URI, "web"}, screen.Viewer(there, "web", vnc, display))
	assert.Empty(t, screen.Viewer(here, "web", vnc, none), "no display")

	require.NoError(t, screen.Show(t.Context(), []string{remote}))
	err := screen.Show(t.Context(), []string{virt})
	require.ErrorContains(t, err, "the viewer ended with an error")
	require.ErrorContains(t, err, "no screen")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	assert.True(t, fault.Is(screen.Show(ended, []string{remote}), fault.Interrupted))
}
