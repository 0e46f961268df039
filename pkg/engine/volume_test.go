package engine_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
	"vmctl/pkg/engine/enginetest"
	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

func volume(name string, size spec.Size) spec.Volume {
	return spec.Volume{Name: name, Size: size, Format: spec.Ext4, Disk: spec.DiskRaw, Cache: "writeback", IO: "threads", Discard: "unmap"}
}

func withVolumes(volumes ...spec.Volume) engine.Wanted {
	w := inStore()
	w.Machine.Volumes = volumes
	return w
}

// written marks a data volume as one that holds something.
func written(t *testing.T, h *enginetest.Host, name string) {
	t.Helper()
	require.NoError(t, h.Upload(t.Context(), engine.DataVolume("example", name), strings.NewReader("precious"), 8, nil))
}

func precious(t *testing.T, h *enginetest.Host, name string) bool {
	t.Helper()
	r, err := h.ReadVolume(t.Context(), engine.DataVolume("example", name), 0)
	if fault.Is(err, fault.NotFound) {
		return false
	}
	require.NoError(t, err)
	content := make([]byte, 8)
	_, _ = r.Read(content)
	return string(content) == "precious"
}

func serials(disks []engine.Disk) []string {
	names := []string{}
	for _, d := range disks {
		names = append(names, d.Serial)
	}
	return names
}

func domain(t *testing.T, h *enginetest.Host) *engine.Domain {
	t.Helper()
	d, err := h.Domain(t.Context(), "example")
	require.NoError(t, err)
	return d
}

func settledAgain(t *testing.T, h *enginetest.Host, w engine.Wanted) {
	t.Helper()
	again, err := on(h).Plan(t.Context(), w, engine.Options{})
	require.NoError(t, err)
	require.Empty(t, again.String())
}

func TestVolumesLiveLongerThanTheMachine(t *testing.T) {
	h := enginetest.NewHost(enginetest.Options{})
	vault := volume("vault", spec.GiB)
	vault.Encrypt = true
	w := withVolumes(volume("data", 2*spec.GiB), vault)
	up(t, h, w, engine.Options{})
	settledAgain(t, h, w)
	assert.Equal(t, []string{"data", "vault"}, serials(domain(t, h).Live.Attached))
	assert.Len(t, h.SecretIDs(), 1)
	written(t, h, "data")

	removal := down(t, h)
	assert.Len(t, removal.Kept, 2)
	assert.Equal(t, []string{engine.DataVolume("example", "data"), engine.DataVolume("example", "vault")}, h.VolumeNames())
	assert.Len(t, h.SecretIDs(), 1, "the key stays with its volume")
	assert.False(t, down(t, h).Existed)

	up(t, h, w, engine.Options{})
	assert.True(t, precious(t, h, "data"))
	w.Machine.Disk = 5 * spec.GiB
	up(t, h, w, engine.Options{Replace: true, StopTimeout: time.Minute})
	assert.True(t, precious(t, h, "data"))
	settledAgain(t, h, w)

	removal, err := on(h).Down(t.Context(), "example", engine.DownOptions{Force: true, Volumes: true})
	require.NoError(t, err)
	assert.Contains(t, removal.Volumes, engine.DataVolume("example", "data"))
	assert.Empty(t, h.VolumeNames())
	assert.Empty(t, h.SecretIDs())
}

func TestVolumesComeAndGoWhileTheMachineRuns(t *testing.T) {
	h := enginetest.NewHost(enginetest.Options{})
	up(t, h, withVolumes(volume("a", spec.GiB)), engine.Options{})
	written(t, h, "a")

	w := withVolumes(volume("a", 2*spec.GiB), volume("b", spec.GiB))
	plan, err := on(h).Plan(t.Context(), w, engine.Options{})
	require.NoError(t, err)
	assert.Equal(t, `resize disk A (volume a 1GiB → 2GiB)
create volume B (not there: 1GiB)
define domain example (volume b none → 1GiB)
attach disk b (1GiB)`, dataShort.Replace(plan.String()))
	up(t, h, w, engine.Options{})
	settledAgain(t, h, w)
	assert.Equal(t, []string{"a", "b"}, serials(domain(t, h).Live.Attached))

	w = withVolumes(volume("b", spec.GiB))
	plan, err = on(h).Plan(t.Context(), w, engine.Options{})
	require.NoError(t, err)
	assert.Equal(t, `detach disk a (not in the definition any more; the volume itself stays)
define domain example (volume a attached → none)`, plan.String())
	up(t, h, w, engine.Options{})
	settledAgain(t, h, w)
	assert.Equal(t, []string{"b"}, serials(domain(t, h).Live.Attached))
	assert.Equal(t, []string{"b"}, serials(domain(t, h).Attached))
	assert.True(t, precious(t, h, "a"), "detached, not deleted")

	up(t, h, withVolumes(volume("a", 2*spec.GiB)), engine.Options{})
	assert.Equal(t, []string{"a"}, serials(domain(t, h).Live.Attached))
	assert.True(t, precious(t, h, "a"))
}

var dataShort = strings.NewReplacer(engine.DataVolume("example", "a"), "A", engine.DataVolume("example", "b"), "B")

// A guest that does not let go keeps the disk, and its definition.
func TestADiskThatIsNotLetGoOf(t *testing.T) {
	h := enginetest.NewHost(enginetest.Options{})
	h.SetGuest("example", enginetest.Guest{KeepsDisks: true})
	up(t, h, withVolumes(volume("a", spec.GiB)), engine.Options{})
	_, err := on(h).Up(t.Context(), withVolumes(), engine.Options{})
	require.Error(t, err)
	assert.Equal(t, fault.Timeout, fault.KindOf(err))
	assert.Equal(t, []string{"a"}, serials(domain(t, h).Attached))
}

func TestHowAVolumeIsDrivenWaitsForTheNextBoot(t *testing.T) {
	h := enginetest.NewHost(enginetest.Options{})
	up(t, h, withVolumes(volume("a", spec.GiB)), engine.Options{})
	v := volume("a", spec.GiB)
	v.Cache, v.Mount = "none", "/srv"
	w := withVolumes(v)
	outcome := up(t, h, w, engine.Options{})
	assert.NotEmpty(t, outcome.Plan.Pending)
	again, err := on(h).Plan(t.Context(), w, engine.Options{})
	require.NoError(t, err)
	assert.Equal(t, `pending: volume a cache writeback, io threads, discard unmap, qcow2 → cache none, io threads, discard unmap, qcow2
pending: mount of volume a none → /srv (ext4)`, again.String())
	up(t, h, w, engine.Options{Restart: true, StopTimeout: time.Minute})
	settledAgain(t, h, w)
	assert.Equal(t, "none", domain(t, h).Live.Attached[0].Cache)
}

func TestWhatVolumesRefuse(t *testing.T) {
	data, pool := engine.DataVolume("example", "data"), "/var/lib/libvirt/images/vmctl/"
	encrypted := volume("data", spec.GiB)
	encrypted.Encrypt = true
	source := volume("data", 0)
	source.Source = "default/x"
	device := volume("data", 0)
	device.Path = "/dev/sdx"
	for name, tc := range map[string]struct {
		plant func(h *enginetest.Host)
		v     spec.Volume
		want  string
	}{
		"shrinking": {
			func(h *enginetest.Host) {
				h.PlantVolume(engine.Volume{Name: data, Format: "qcow2", Capacity: 2 * spec.GiB}, nil)
			},
			volume("data", spec.GiB), "volume data of example is 2GiB and cannot shrink to 1GiB",
		},
		"a foreign file": {
			func(h *enginetest.Host) {
				h.PlantVolume(engine.Volume{Name: data, Format: "raw", Capacity: spec.GiB}, nil)
			},
			volume("data", spec.GiB), pool + data + " is not a volume that vmctl made: it is raw",
		},
		"an unfinished import": {
			func(h *enginetest.Host) {
				h.PlantVolume(engine.Volume{Name: data, Format: "qcow2", Capacity: spec.GiB}, nil)
				h.PlantVolume(engine.Volume{Name: data + ".importing", Format: "raw"}, nil)
			},
			volume("data", spec.GiB), "volume data of example was being imported, and that was cut short",
		},
		"no key": {
			func(h *enginetest.Host) {
				h.PlantVolume(engine.Volume{Name: data, Format: "qcow2", Capacity: spec.GiB, Encrypted: true}, nil)
			},
			encrypted, "the key of the encrypted volume data of example is not on the host any more",
		},
		"encrypting what is there": {
			func(h *enginetest.Host) {
				h.PlantVolume(engine.Volume{Name: data, Format: "qcow2", Capacity: spec.GiB}, nil)
			},
			encrypted, "volume data of example is not encrypted, and that cannot be changed",
		},
		"in use by its own name": {
			func(h *enginetest.Host) {
				h.PlantVolume(engine.Volume{Name: data, Format: "qcow2", Capacity: spec.GiB}, nil)
				h.PlantDomain(engine.Domain{Name: "other", UUID: "x", Disks: []string{pool + data}})
			},
			volume("data", spec.GiB), "volume data cannot be used: " + pool + data + " is a disk of domain other, which is defined with it",
		},
		"a device in use": {
			func(h *enginetest.Host) {
				h.PlantDomain(engine.Domain{Name: "other", UUID: "x", State: engine.StateRunning, Disks: []string{"/dev/sdx"}})
			},
			device, "volume data cannot be used: /dev/sdx is a disk of domain other, which runs with it",
		},
		"no source": {func(*enginetest.Host) {}, source, "qemu:///system has no volume default/x, which volume data of example is to be"},
		"source of a format": {func(h *enginetest.Host) {
			h.PlantVolumeIn("default", engine.Volume{Name: "x", Path: "/x", Format: "qcow2"})
		}, source, "default/x is qcow2, and volume data of example says raw"},
		"source on a base": {
			func(h *enginetest.Host) {
				h.PlantVolumeIn("default", engine.Volume{Name: "x", Path: "/x", Format: "raw", Backing: "/y"})
			},
			source, "default/x lies on another image, /y: volume data has to be whole by itself",
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := enginetest.NewHost(enginetest.Options{})
			h.PlantPool(engine.Pool{Name: "vmctl", Target: strings.TrimSuffix(pool, "/"), State: engine.PoolActive, Autostart: true})
			tc.plant(h)
			before := h.VolumeNames()
			_, err := on(h).Up(t.Context(), withVolumes(tc.v), engine.Options{})
			require.EqualError(t, err, tc.want)
			assert.NotEmpty(t, fault.HintOf(err))
			assert.Equal(t, before, h.VolumeNames())
			assert.Empty(t, h.Changes())
		})
	}
}

// What is not vmctl's is attached and detached, and never deleted.
func TestForeignVolumesAreNeverDeleted(t *testing.T) {
	h := enginetest.NewHost(enginetest.Options{})
	h.PlantVolumeIn("default", engine.Volume{Name: "x", Path: "/lvm/x", Format: "raw", Block: true})
	source, device := volume("x", 0), volume("dev", 0)
	source.Source, device.Path = "default/x", "/dev/sdx"
	w := withVolumes(source, device)
	up(t, h, w, engine.Options{})
	settledAgain(t, h, w)
	attached := domain(t, h).Attached
	assert.Equal(t, "/lvm/x", attached[0].Path)
	assert.True(t, attached[0].Block)
	assert.Equal(t, "raw", attached[1].Format)
	up(t, h, withVolumes(device), engine.Options{})
	assert.Equal(t, []string{"dev"}, serials(domain(t, h).Live.Attached))
	_, err := on(h).Down(t.Context(), "example", engine.DownOptions{Force: true, Volumes: true})
	require.NoError(t, err)
	_, err = h.VolumeIn(t.Context(), "default", "x")
	require.NoError(t, err)
}

// A snapshot's overlay stands where the volume stood: going on without it would lose
// what was written there.
func TestAVolumeBelowASnapshotIsLeftAlone(t *testing.T) {
	h := enginetest.NewHost(enginetest.Options{})
	w := withVolumes(volume("a", spec.GiB))
	up(t, h, w, engine.Options{})
	d := domain(t, h)
	for _, disks := range [][]engine.Disk{d.Attached, d.Live.Attached} {
		disks[0].Path += ".snap"
	}
	h.PlantDomain(*d)
	_, err := on(h).Up(t.Context(), w, engine.Options{})
	require.ErrorContains(t, err, "no longer the one that vmctl made")
}

func TestVolumeVerbs(t *testing.T) {
	h := enginetest.NewHost(enginetest.Options{})
	e, ctx := on(h), t.Context()
	require.NoError(t, e.CreateDataVolume(ctx, "example", "a", spec.GiB, false))
	require.NoError(t, e.CreateDataVolume(ctx, "example", "vault", spec.GiB, true))
	err := e.CreateDataVolume(ctx, "example", "a", spec.GiB, false)
	require.EqualError(t, err, "volume example/a exists already: it is 1GiB")

	grown, err := e.ResizeDataVolume(ctx, "example", "a", 2*spec.GiB)
	require.NoError(t, err)
	assert.True(t, grown)
	grown, err = e.ResizeDataVolume(ctx, "example", "a", 2*spec.GiB)
	require.NoError(t, err)
	assert.False(t, grown)
	_, err = e.ResizeDataVolume(ctx, "example", "a", spec.GiB)
	require.EqualError(t, err, "volume example/a is 2GiB and cannot shrink to 1GiB")

	vault := volume("vault", spec.GiB)
	vault.Encrypt = true
	up(t, h, withVolumes(volume("a", 2*spec.GiB), vault), engine.Options{})
	all, err := e.DataVolumes(ctx, "")
	require.NoError(t, err)
	require.Len(t, all, 2)
	assert.True(t, all[0].Users[0].Running)
	require.EqualError(t, e.RemoveDataVolume(ctx, "example", "a"), "volume example/a cannot be deleted: domain example runs with it")
	_, err = e.Stop(ctx, "example", engine.DownOptions{Force: true})
	require.NoError(t, err)
	require.EqualError(t, e.RemoveDataVolume(ctx, "example", "a"), "volume example/a cannot be deleted: it is a disk of domain example")
	down(t, h)
	require.NoError(t, e.RemoveDataVolume(ctx, "example", "a"))
	require.NoError(t, e.RemoveDataVolume(ctx, "example", "vault"))
	assert.Empty(t, h.VolumeNames())
	assert.Empty(t, h.SecretIDs())
	assert.Equal(t, fault.NotFound, fault.KindOf(e.RemoveDataVolume(ctx, "example", "a")))
}

// Killed anywhere in up or down, volumes are never lost, the next up settles, and
// down --volumes leaves nothing.
func TestKilledAnywhereVolumesStay(t *testing.T) {
	vault := volume("vault", spec.GiB)
	vault.Encrypt = true
	before := withVolumes(volume("a", spec.GiB), volume("b", spec.GiB))
	after := withVolumes(volume("b", 2*spec.GiB), volume("c", spec.GiB), vault)
	for name, act := range map[string]func(h *enginetest.Host){
		"up": func(h *enginetest.Host) { _, _ = on(h).Up(t.Context(), after, engine.Options{}) },
		"up --restart": func(h *enginetest.Host) {
			w := after
			w.Machine.CPUs = 3
			_, _ = on(h).Up(t.Context(), w, engine.Options{Restart: true, StopTimeout: time.Minute})
		},
		"up --replace": func(h *enginetest.Host) {
			w := after
			w.Machine.Disk = 5 * spec.GiB
			_, _ = on(h).Up(t.Context(), w, engine.Options{Replace: true, StopTimeout: time.Minute})
		},
		"down": func(h *enginetest.Host) {
			_, _ = on(h).Down(t.Context(), "example", engine.DownOptions{Force: true})
		},
	} {
		t.Run(name, func(t *testing.T) {
			points := 0
			for n := 1; ; n++ {
				h := enginetest.NewHost(enginetest.Options{})
				up(t, h, before, engine.Options{})
				written(t, h, "a")
				written(t, h, "b")
				if !killed(h, n, func() { act(h) }) {
					break
				}
				points++
				up(t, h, after, engine.Options{Replace: true, StopTimeout: time.Minute})
				settledAgain(t, h, after)
				assert.Equal(t, []string{"b", "c", "vault"}, serials(domain(t, h).Live.Attached), "point %d", n)
				assert.True(t, precious(t, h, "a"), "point %d", n)
				assert.True(t, precious(t, h, "b"), "point %d", n)
				_, err := on(h).Down(t.Context(), "example", engine.DownOptions{Force: true, Volumes: true})
				require.NoError(t, err)
				assert.Empty(t, h.VolumeNames(), "point %d", n)
				assert.Empty(t, h.SecretIDs(), "point %d", n)
			}
			assert.Greater(t, points, 2)
		})
	}
	t.Run("down --volumes and a first up", func(t *testing.T) {
		for n := 1; ; n++ {
			h := enginetest.NewHost(enginetest.Options{})
			first := killed(h, n, func() { _, _ = on(h).Up(t.Context(), after, engine.Options{}) })
			again := killed(h, n, func() {
				_, _ = on(h).Down(t.Context(), "example", engine.DownOptions{Force: true, Volumes: true})
			})
			_, err := on(h).Down(t.Context(), "example", engine.DownOptions{Force: true, Volumes: true})
			require.NoError(t, err)
			assert.Empty(t, h.VolumeNames(), "point %d", n)
			assert.Empty(t, h.DomainNames(), "point %d", n)
			assert.Empty(t, h.SecretIDs(), "point %d", n)
			if !first && !again {
				break
			}
		}
	})
}

// A failed up takes back the volumes it made, with their keys, and no other.
func TestAFailedUpTakesItsVolumesBack(t *testing.T) {
	boom := fault.New(fault.Other, "boom")
	vault := volume("vault", spec.GiB)
	vault.Encrypt = true
	for _, method := range []string{"CreateEncrypted", "SetSecret", "DefineDomain", "StartDomain"} {
		t.Run(method, func(t *testing.T) {
			h := enginetest.NewHost(enginetest.Options{})
			require.NoError(t, on(h).CreateDataVolume(t.Context(), "example", "data", spec.GiB, false))
			h.Fail(method, 1, boom)
			_, err := on(h).Up(t.Context(), withVolumes(volume("data", spec.GiB), vault), engine.Options{})
			require.ErrorIs(t, err, boom)
			assert.Equal(t, []string{engine.DataVolume("example", "data")}, h.VolumeNames())
			assert.Empty(t, h.SecretIDs())
		})
	}
	// A volume of a running machine stays with the definition that names it.
	h := enginetest.NewHost(enginetest.Options{})
	up(t, h, withVolumes(), engine.Options{})
	h.Fail("AttachDisk", 1, boom)
	w := withVolumes(volume("data", spec.GiB))
	_, err := on(h).Up(t.Context(), w, engine.Options{})
	require.ErrorIs(t, err, boom)
	up(t, h, w, engine.Options{})
	settledAgain(t, h, w)
	assert.Equal(t, []string{"data"}, serials(domain(t, h).Live.Attached))
}
