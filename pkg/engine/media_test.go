package engine_test

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
	"vmctl/pkg/engine/enginetest"
	"vmctl/pkg/fault"
)

// told is a machine with a seed, which names the machine's life.
func told(seed string) engine.Wanted {
	w := inStore()
	w.Media = []engine.Medium{
		{Role: engine.RoleSeed, Serial: engine.SerialSeed, Make: func(life string) ([]byte, error) {
			return bytes.Repeat([]byte(seed+" "+life+"\n"), 100), nil
		}},
	}
	return w
}

// seeds are the volumes of seeds, without the markers.
func seeds(h *enginetest.Host) []string {
	var all []string
	for _, name := range h.VolumeNames() {
		if strings.Contains(name, ".seed.") && strings.HasSuffix(name, ".img") {
			all = append(all, name)
		}
	}
	return all
}

func read(t *testing.T, h *enginetest.Host, volume string) string {
	t.Helper()
	r, err := h.ReadVolume(t.Context(), volume, 0)
	require.NoError(t, err)
	content, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	return string(content)
}

func attached(t *testing.T, h *enginetest.Host) (defined, live []string) {
	t.Helper()
	d, err := h.Domain(t.Context(), "example")
	require.NoError(t, err)
	for _, disk := range d.Attached {
		assert.True(t, disk.ReadOnly)
		assert.Equal(t, "raw", disk.Format)
		defined = append(defined, disk.Serial)
	}
	if d.Live != nil {
		for _, disk := range d.Live.Attached {
			live = append(live, disk.Serial)
		}
	}
	return defined, live
}

func TestMediaComeWithTheMachineAndGoWithIt(t *testing.T) {
	h := enginetest.NewHost(enginetest.Options{Remote: true})
	w := told("a")
	w.Image = inFile(t).Image
	up(t, h, w, engine.Options{})
	defined, live := attached(t, h)
	assert.Equal(t, []string{engine.SerialSeed}, defined)
	assert.Equal(t, defined, live)
	require.Len(t, seeds(h), 1)

	d, err := h.Domain(t.Context(), "example")
	require.NoError(t, err)
	require.Len(t, d.Record.Media, 1)
	assert.Equal(t, engine.RoleSeed, d.Record.Media[0].Role)

	h.Forget()
	outcome := up(t, h, w, engine.Options{})
	assert.True(t, outcome.Plan.Empty(), outcome.Plan)
	assert.Empty(t, h.Changes())
	down(t, h)
	assert.Empty(t, h.VolumeNames())
}

func TestAChangedSeedWaitsForTheNextBoot(t *testing.T) {
	h := enginetest.NewHost(enginetest.Options{})
	up(t, h, told("a"), engine.Options{})
	old := seeds(h)[0]

	outcome := up(t, h, told("b"), engine.Options{})
	require.Len(t, outcome.Plan.Pending, 1)
	assert.Contains(t, outcome.Plan.Pending[0], "seed ")
	assert.Contains(t, outcome.Plan.String(), "takes effect at the next boot")
	require.Len(t, seeds(h), 2, "the running guest still has the old one")

	h.Forget()
	assert.True(t, up(t, h, told("b"), engine.Options{}).Plan.Empty())
	assert.Empty(t, h.Changes())

	outcome = up(t, h, told("b"), engine.Options{Restart: true, StopTimeout: time.Minute})
	assert.Contains(t, outcome.Plan.String(), "delete volume "+old+" (no longer used)")
	require.Len(t, seeds(h), 1)
	assert.NotEqual(t, old, seeds(h)[0])
	assert.True(t, strings.HasPrefix(read(t, h, seeds(h)[0]), "b "))
}

func TestAMachineWithoutMediaAnyMore(t *testing.T) {
	h := enginetest.NewHost(enginetest.Options{})
	up(t, h, told("a"), engine.Options{})
	w := told("a")
	w.Media = nil
	up(t, h, w, engine.Options{Restart: true, StopTimeout: time.Minute})
	defined, _ := attached(t, h)
	assert.Empty(t, defined)
	assert.Equal(t, []string{engine.LogVolume("example"), engine.RootVolume("example")}, h.VolumeNames())
}

func TestALifeIsThatOfTheRootDisk(t *testing.T) {
	h := enginetest.NewHost(enginetest.Options{})
	life := func() string {
		t.Helper()
		require.Len(t, seeds(h), 1)
		_, after, _ := strings.Cut(read(t, h, seeds(h)[0]), " ")
		line, _, _ := strings.Cut(after, "\n")
		return line
	}
	up(t, h, told("a"), engine.Options{})
	first := life()
	up(t, h, told("b"), engine.Options{Restart: true, StopTimeout: time.Minute})
	assert.Equal(t, first, life(), "another seed on the same disk")
	w := told("b")
	w.Image.ID, w.Image.Path = "nix-cccccccccccccccc", "/nix/store/cccc/nixos.qcow2"
	up(t, h, w, engine.Options{Replace: true, StopTimeout: time.Minute})
	assert.NotEqual(t, first, life(), "the disk was made anew")
	second := life()
	assert.True(t, up(t, h, w, engine.Options{}).Plan.Empty())
	w.Machine.CPUs = 1
	up(t, h, w, engine.Options{Restart: true, StopTimeout: time.Minute})
	assert.Equal(t, second, life())
}

func TestAnUploadCutShortIsNeverUsed(t *testing.T) {
	h := enginetest.NewHost(enginetest.Options{})
	h.Fail("Upload", 1, fault.New(fault.Unreachable, "the connection was lost"))
	h.Fail("DeleteVolume", 1, fault.New(fault.Unreachable, "the connection was lost"))
	_, err := on(h).Up(t.Context(), told("a"), engine.Options{})
	require.Error(t, err)
	require.Len(t, seeds(h), 1, "the empty volume stayed behind")
	assert.Empty(t, read(t, h, seeds(h)[0]))

	outcome := up(t, h, told("a"), engine.Options{})
	assert.Contains(t, outcome.Plan.String(), "an earlier upload was cut short")
	assert.True(t, strings.HasPrefix(read(t, h, seeds(h)[0]), "a "))
}

func TestAMediumThatWasTakenAwayComesBack(t *testing.T) {
	h := enginetest.NewHost(enginetest.Options{})
	up(t, h, told("a"), engine.Options{})
	_, err := on(h).Stop(t.Context(), "example", engine.DownOptions{Force: true})
	require.NoError(t, err)
	require.NoError(t, h.DetachDisk(t.Context(), "example", engine.SerialSeed))
	require.NoError(t, h.DeleteVolume(t.Context(), seeds(h)[0]))
	up(t, h, told("a"), engine.Options{})
	defined, _ := attached(t, h)
	assert.Contains(t, defined, engine.SerialSeed)
	assert.True(t, strings.HasPrefix(read(t, h, seeds(h)[0]), "a "))
}

func TestMediaOfAFailedChangeStay(t *testing.T) {
	h := enginetest.NewHost(enginetest.Options{})
	up(t, h, told("a"), engine.Options{})
	h.Fail("StartDomain", 1, fault.New(fault.Other, "boom"))
	_, err := on(h).Up(t.Context(), told("b"), engine.Options{Restart: true, StopTimeout: time.Minute})
	require.ErrorContains(t, err, "boom")
	d, err := h.Domain(t.Context(), "example")
	require.NoError(t, err)
	for _, disk := range d.Attached {
		_, err := h.Volume(t.Context(), disk.Path[strings.LastIndex(disk.Path, "/")+1:])
		assert.NoError(t, err, "what the definition names is there")
	}
}
