package libvirt_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
	"vmctl/pkg/engine/enginetest"
	"vmctl/pkg/fault"
	"vmctl/pkg/libvirt"
	"vmctl/pkg/progress"
	"vmctl/pkg/spec"
	"vmctl/pkg/testenv"
)

// uploading is a machine on an image that has to be uploaded.
func uploading(t *testing.T, size int) (engine.Wanted, []byte) {
	t.Helper()
	content := enginetest.BootDisk()
	content = append(content, make([]byte, size-len(content))...)
	random := rand.New(rand.NewPCG(3, 4))
	for at := 1 << 20; at < size; at += 4096 {
		if at>>20%8 != 5 {
			content[at] = byte(random.IntN(255) + 1)
		}
	}
	image := filepath.Join(testenv.Dir(t, ""), "disk.raw")
	require.NoError(t, os.WriteFile(image, content, 0o644))
	return engine.Wanted{
		Machine: spec.Machine{
			Name: machine, Memory: 32 * spec.MiB, CPUs: 1,
			Accel: spec.AccelTCG, Firmware: spec.FirmwareBIOS, Network: spec.NetworkNone,
		},
		Image: engine.Image{ID: "sha256-0123", Source: "./disk.raw", Path: image, Format: "raw", Size: spec.Size(size), FileSize: spec.Size(size)},
	}, content
}

func uploader(h *engine.Host, client, run string) *engine.Engine {
	return &engine.Engine{
		Host: h, Project: "/project", Version: "test", Locker: noLocks{}, Sink: progress.Discard,
		Token: engine.Token{Client: client, Run: run},
	}
}

// inPool are the files of the pool that have to do with uploaded images.
func inPool(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob("/var/lib/libvirt/images/vmctl/base-*")
	require.NoError(t, err)
	return found
}

// onlyImage is the content of the one uploaded image.
func onlyImage(t *testing.T) []byte {
	t.Helper()
	files := inPool(t)
	require.Len(t, files, 2, "%v", files)
	require.Equal(t, files[0]+".ok", files[1])
	content, err := os.ReadFile(files[0])
	require.NoError(t, err)
	return content
}

// libvirtdPID is the process of the private host's daemon.
func libvirtdPID(t *testing.T) int {
	t.Helper()
	pid, err := os.ReadFile("/run/libvirtd.pid")
	require.NoError(t, err)
	n, err := strconv.Atoi(strings.TrimSpace(string(pid)))
	require.NoError(t, err)
	return n
}

// startLibvirtd starts the daemon again when it has been killed, and waits until it answers.
func startLibvirtd(t *testing.T, killed int) {
	t.Helper()
	require.Eventually(t, func() bool { return syscall.Kill(killed, 0) == syscall.ESRCH }, time.Minute, 10*time.Millisecond)
	out, err := exec.Command("libvirtd", "-d").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Eventually(t, func() bool {
		_, c, err := libvirt.Open(t.Context(), testenv.System)
		if err != nil {
			return false
		}
		return c.Close() == nil
	}, time.Minute, 20*time.Millisecond)
}

// TestUploadCutAtTenPoints cuts one upload again and again, in every way there is. Each run
// goes on where the one before it came to, and what is there in the end is the image.
func TestUploadCutAtTenPoints(t *testing.T) {
	uri := testenv.Host(t)
	clean(t, uri)
	t.Cleanup(func() { clean(t, uri) })
	const cuts = 10
	w, content := uploading(t, (cuts+1)*4<<20+4097)
	link := testenv.RPC(t, testenv.Shape{})
	for point := range cuts {
		ctx, cancel := context.WithCancel(t.Context())
		h, c, err := libvirt.Open(ctx, link.URI())
		require.NoError(t, err)
		want, daemon := fault.Unreachable, libvirtdPID(t)
		link.After(6<<20, []func(){
			link.Close, link.Drop,
			func() { link.Stall(); cancel() },
			cancel,
			func() { _ = syscall.Kill(daemon, syscall.SIGKILL) },
		}[point%5])
		_, err = uploader(h, "me", strconv.Itoa(point)).Up(ctx, w, engine.Options{})
		link.Mend()
		require.Error(t, err)
		if ctx.Err() != nil {
			want = fault.Interrupted
		}
		assert.Equal(t, want, fault.KindOf(err), "point %d: %v", point, err)
		assert.ErrorContains(t, err, " have arrived", "point %d", point)
		for _, file := range inPool(t) {
			assert.NotContains(t, file, ".ok", "it is no image yet")
		}
		_ = c.Close()
		cancel()
		if point%5 == 4 {
			startLibvirtd(t, daemon)
		}
	}
	assert.Less(t, link.Up.Load(), int64(len(content)*2), "most was sent once")
	h, _ := open(t, uri)
	began := link.Up.Load()
	_, err := uploader(h, "me", "last").Up(t.Context(), w, engine.Options{})
	require.NoError(t, err)
	assert.Less(t, link.Up.Load()-began, int64(len(content)/4))
	assert.True(t, bytes.Equal(content, onlyImage(t)))
	_, err = uploader(h, "me", "down").Down(t.Context(), machine, engine.DownOptions{Force: true})
	require.NoError(t, err)
	assert.Empty(t, inPool(t))
}

// Two clients that push one image at once both have it in the end.
func TestTwoClientsPushOneImage(t *testing.T) {
	uri := testenv.Host(t)
	clean(t, uri)
	t.Cleanup(func() { clean(t, uri) })
	first, _ := open(t, uri)
	for _, step := range []func(context.Context) error{first.Pools.DefinePool, first.Pools.BuildPool, first.Pools.StartPool} {
		require.NoError(t, step(t.Context()))
	}
	w, content := uploading(t, 20<<20)
	done := make(chan error, 2)
	machines := []string{machine, machine + "2"}
	for i, client := range []string{"ann", "bob"} {
		h, _ := open(t, uri)
		w := w
		w.Machine.Name = machines[i]
		go func() {
			_, err := uploader(h, client, "1").Up(t.Context(), w, engine.Options{})
			done <- err
		}()
	}
	require.NoError(t, <-done)
	require.NoError(t, <-done)
	h, _ := open(t, uri)
	for i, client := range []string{"ann", "bob"} {
		root, err := h.Volumes.Volume(t.Context(), engine.RootVolume(machines[i]))
		require.NoError(t, err)
		got, err := os.ReadFile(root.Backing)
		require.NoError(t, err)
		assert.True(t, bytes.Equal(content, got))
		_, err = uploader(h, client, "2").Down(t.Context(), machines[i], engine.DownOptions{Force: true})
		require.NoError(t, err)
	}
	assert.Empty(t, inPool(t))
}

// A pool that is full in the middle of an upload is as empty as before after it.
func TestPoolFullInTheMiddle(t *testing.T) {
	uri := testenv.Host(t)
	clean(t, uri)
	small := testenv.Dir(t, "")
	require.NoError(t, syscall.Mount("tmpfs", small, "tmpfs", 0, "size=48m,mode=0755"))
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(small, syscall.MNT_DETACH)) })
	h, _ := open(t, uri, libvirt.WithPoolTarget(small))
	t.Cleanup(func() {
		virsh(t, "pool-destroy", libvirt.PoolName)
		virsh(t, "pool-undefine", libvirt.PoolName)
	})
	w, _ := uploading(t, 80<<20)
	_, err := uploader(h, "me", "1").Up(t.Context(), w, engine.Options{})
	require.ErrorContains(t, err, "o space left")
	assert.Equal(t, fault.Refused, fault.KindOf(err), "%v", err)
	assert.NotEmpty(t, fault.HintOf(err))
	left, err := os.ReadDir(small)
	require.NoError(t, err)
	assert.Empty(t, left)
}
