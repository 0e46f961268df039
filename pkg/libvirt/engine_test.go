package libvirt_test

import (
	"context"
	"os"
	"path/filepath"
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

type noLocks struct{}

func (noLocks) Lock(context.Context, string) (func(), error) { return func() {}, nil }

// What people do to a machine with virsh must not make up lose its disk.
func TestUpKeepsTheDiskThatVirshWasUsedOn(t *testing.T) {
	uri := testenv.Host(t)
	clean(t, uri)
	h, _ := open(t, uri)
	t.Cleanup(func() { clean(t, uri) })
	image := filepath.Join(testenv.Dir(t, "image"), "boot.raw")
	require.NoError(t, os.WriteFile(image, enginetest.BootDisk(), 0o644))
	e := &engine.Engine{Host: h, Project: "/project", Version: "test", Locker: noLocks{}, Sink: progress.Discard}
	w := engine.Wanted{
		Machine: spec.Machine{
			Name: machine, Memory: 64 * spec.MiB, CPUs: 1, Disk: 4 * spec.MiB,
			Accel: spec.AccelTCG, Firmware: spec.FirmwareBIOS, Network: spec.NetworkNone,
		},
		Image: engine.Image{ID: "nix-aaaa", Source: "images/x", Path: image, Format: "raw", Size: spec.MiB, FileSize: spec.MiB, InPlace: true},
	}
	up := func() *engine.Outcome {
		t.Helper()
		outcome, err := e.Up(t.Context(), w, engine.Options{})
		require.NoError(t, err)
		return outcome
	}
	refused := func(words string) {
		t.Helper()
		_, err := e.Up(t.Context(), w, engine.Options{})
		require.ErrorContains(t, err, words)
		assert.Equal(t, fault.Refused, fault.KindOf(err))
		d, err := h.Domains.Domain(t.Context(), machine)
		require.NoError(t, err)
		assert.Equal(t, engine.StateRunning, d.State, "the guest runs on")
	}
	require.True(t, up().Started)

	virsh(t, "pool-destroy", libvirt.PoolName)
	assert.False(t, up().Started, "a pool that is not active hides the disk, and no more")

	virsh(t, "snapshot-create-as", machine, "--disk-only", "--no-metadata", "later")
	w.Machine.Memory = 96 * spec.MiB
	refused("no longer the root disk that vmctl made")
	virsh(t, "blockcommit", machine, "vda", "--shallow", "--active", "--pivot")
	w.Machine.Memory = 64 * spec.MiB
	assert.True(t, up().Plan.Empty())

	virsh(t, "blockpull", machine, "vda", "--wait")
	virsh(t, "pool-refresh", libvirt.PoolName) // libvirt does not look at the chain before
	refused("it lies on no image any more")

	virsh(t, "pool-destroy", libvirt.PoolName)
	removal, err := e.Down(t.Context(), machine, engine.DownOptions{Timeout: time.Minute, Force: true})
	require.NoError(t, err)
	assert.Contains(t, removal.Volumes, engine.RootVolume(machine))
	_, err = h.Volumes.Volume(t.Context(), engine.RootVolume(machine))
	assert.Equal(t, fault.NotFound, fault.KindOf(err))
}
