package libvirt_test

import (
	"bytes"
	"context"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"vmctl/pkg/engine"
	"vmctl/pkg/engine/enginetest"
	"vmctl/pkg/libvirt"
	"vmctl/pkg/progress"
	"vmctl/pkg/spec"
	"vmctl/pkg/testenv"
)

const modelPool = "/var/lib/libvirt/images/vmctl"

// TestModelOnARealHost is the engine's TestModel with guests that run. MODEL_CHECKS says how
// many sequences are tried.
func TestModelOnARealHost(t *testing.T) {
	uri := testenv.Host(t)
	testenv.Tool(t, "virsh", "qemu-io", "qemu-img")
	checks, steps, shrinking := os.Getenv("MODEL_CHECKS"), "20", "5m"
	if checks == "" {
		checks, steps, shrinking = "4", "8", "5s"
	}
	for name, value := range map[string]string{"rapid.checks": checks, "rapid.steps": steps, "rapid.nofailfile": "true", "rapid.shrinktime": shrinking} {
		require.NoError(t, flag.Set(name, value))
	}
	images := testenv.Dir(t, "")
	require.NoError(t, os.WriteFile(filepath.Join(images, "boot.raw"), enginetest.BootDisk(), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(images, "other.raw"), append(enginetest.BootDisk(), 0), 0o644))
	t.Cleanup(func() { clean(t, uri) })
	rapid.Check(t, func(r *rapid.T) {
		clean(t, uri)
		link := testenv.RPC(t, testenv.Shape{})
		h, c, err := libvirt.Open(t.Context(), uri)
		require.NoError(r, err)
		defer func() { _ = c.Close() }()
		s := &realHost{t: t, h: h, link: link, images: images, marked: map[string]bool{}}
		for _, step := range []func(context.Context) error{h.Pools.DefinePool, h.Pools.BuildPool, h.Pools.StartPool} {
			require.NoError(r, step(t.Context()))
		}
		s.run(r, "qemu-img", "create", "-q", "-f", "qcow2", modelPool+"/theirs.qcow2", "8M")
		s.run(r, "virsh", "pool-refresh", libvirt.PoolName)
		s.define(r, "theirs", "11111111-2222-3333-4444-555555555555")
		s.run(r, "virsh", "start", "theirs")
		enginetest.Model(r, s)
	})
}

// realHost is a private host as the model's subject.
type realHost struct {
	t      *testing.T
	h      *engine.Host
	link   *testenv.Link
	images string
	// marked are the volumes that hold what was written into them.
	marked map[string]bool
}

func (s *realHost) run(r *rapid.T, name string, args ...string) string {
	out, err := exec.Command(name, args...).CombinedOutput()
	require.NoError(r, err, "%s %v: %s", name, args, out)
	return string(out)
}

// define makes a domain of somebody else's.
func (s *realHost) define(r *rapid.T, name, uuid string) {
	file := filepath.Join(s.images, "theirs.xml")
	require.NoError(r, os.WriteFile(file, []byte(`<domain type='qemu'><name>`+name+`</name><uuid>`+uuid+`</uuid><memory unit='MiB'>32</memory>
<os><type arch='x86_64' machine='q35'>hvm</type></os></domain>`), 0o644))
	s.run(r, "virsh", "define", file)
}

func (s *realHost) Host() *engine.Host { return s.h }

func (s *realHost) Engine() *engine.Engine { return s.on(s.h, "") }

func (s *realHost) on(h *engine.Host, run string) *engine.Engine {
	return &engine.Engine{
		Host: h, Project: "/project", Version: "test", Locker: noLocks{}, Sink: progress.Discard,
		Token: engine.Token{Client: "me", Run: run},
	}
}

func (s *realHost) Wanted(name string, uploaded bool) engine.Wanted {
	w := engine.Wanted{
		Machine: spec.Machine{
			Name: name, Memory: 64 * spec.MiB, CPUs: 1, Disk: spec.GiB,
			Accel: spec.AccelTCG, Firmware: spec.FirmwareBIOS, Network: spec.NetworkNone,
		},
		Image: engine.Image{
			ID: "nix-aaaa", Source: "images/x", Path: filepath.Join(s.images, "boot.raw"), Format: "raw",
			Size: spec.MiB, FileSize: spec.MiB, InPlace: true,
		},
	}
	if uploaded {
		w.Image.ID, w.Image.Path, w.Image.InPlace = "sha256-0123", filepath.Join(s.images, "other.raw"), false
		w.Image.FileSize = spec.Size(len(enginetest.BootDisk()) + 1)
	}
	return w
}

// Stop gives a guest that may not have booted no time: it hears nothing.
func (s *realHost) Stop() engine.DownOptions {
	return engine.DownOptions{Timeout: 100 * time.Millisecond}
}

// Disturbed drops the connection before one of the calls.
func (s *realHost) Disturbed(r *rapid.T, do func(context.Context, *engine.Engine) error) {
	n := rapid.IntRange(1, 40).Draw(r, "at call")
	h, c, err := libvirt.Open(context.Background(), s.link.URI())
	require.NoError(r, err)
	defer func() { _ = c.Close() }()
	s.link.Reset()
	s.link.AtCall(n, s.link.Drop)
	_ = do(context.Background(), s.on(h, "disturbed"))
	s.link.Forget()
}

// MayKeepDisks is true: what runs is no system that knows of disks.
func (s *realHost) MayKeepDisks() bool { return true }

// Boots notes nothing: what runs cannot be written to by anybody else.
func (s *realHost) Boots(*rapid.T, string) {}

func (s *realHost) Write(_ *rapid.T, volume string) {
	// It is refused while a guest has the volume.
	out, err := exec.Command("qemu-io", "-f", "qcow2", "-c", "write -P 0xd4 64k 64k", filepath.Join(modelPool, volume)).CombinedOutput()
	s.marked[volume] = err == nil && bytes.Contains(out, []byte("wrote 65536/65536"))
}

func (s *realHost) Written(r *rapid.T, volume string) bool {
	if !s.marked[volume] {
		return true
	}
	out := s.run(r, "qemu-io", "-r", "-U", "-f", "qcow2", "-c", "read -P 0xd4 64k 64k", filepath.Join(modelPool, volume))
	return !strings.Contains(out, "verification failed")
}

func (s *realHost) Crash(r *rapid.T, machine string) { s.run(r, "virsh", "destroy", machine) }

func (s *realHost) Undefine(r *rapid.T, domain string) {
	// As if its guest had written: an empty root disk that nobody has may go.
	_, _ = exec.Command("qemu-io", "-f", "qcow2", "-c", "write 1M 2M", filepath.Join(modelPool, engine.RootVolume(domain))).CombinedOutput()
	s.run(r, "virsh", "undefine", domain)
}

func (s *realHost) Delete(r *rapid.T, volume string) {
	s.run(r, "virsh", "vol-delete", "--pool", libvirt.PoolName, volume)
}

func (s *realHost) Take(r *rapid.T, name string) {
	s.define(r, name, "22222222-2222-3333-4444-00000000000"+string('0'+rune(len(name)%10)))
}

func (s *realHost) StopPool(r *rapid.T) { s.run(r, "virsh", "pool-destroy", libvirt.PoolName) }

func (s *realHost) Volumes(r *rapid.T) []string {
	all, err := os.ReadDir(modelPool)
	require.NoError(r, err)
	var names []string
	for _, f := range all {
		names = append(names, f.Name())
	}
	return names
}

func (s *realHost) Theirs(r *rapid.T) string {
	info, err := os.Stat(modelPool + "/theirs.qcow2")
	require.NoError(r, err)
	return s.run(r, "virsh", "domstate", "theirs") + s.run(r, "virsh", "dumpxml", "theirs") + info.ModTime().String()
}

var _ enginetest.Subject = (*realHost)(nil)
