package engine_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
	"vmctl/pkg/engine/enginetest"
	"vmctl/pkg/fault"
)

// client is a vmctl of another client with each call: nothing but the host is shared.
func client(h *enginetest.Host, name string) *engine.Engine {
	e := on(h)
	e.Token = engine.Token{Client: name, Run: fmt.Sprint(len(h.Calls()))}
	return e
}

// shared is the machine of a client on the image that all of them use.
func shared(t *testing.T, machine string) engine.Wanted {
	w := inFile(t)
	w.Machine.Name = machine
	w.Image.Origin = engine.Origin{Source: "./disk.qcow2", Digest: "sha256:0123"}
	return w
}

// sound checks that what machines lie on is there and whole.
func sound(t *testing.T, h *enginetest.Host, machines ...string) {
	t.Helper()
	all, err := h.ListVolumes(t.Context(), "")
	require.NoError(t, err)
	content := map[string]bool{}
	for _, v := range all {
		content[v.Path] = v.Allocation == 8
	}
	for _, machine := range machines {
		d, err := h.Domain(t.Context(), machine)
		require.NoError(t, err)
		root, err := h.Volume(t.Context(), engine.RootVolume(machine))
		require.NoError(t, err)
		assert.Equal(t, d.Record.Base, root.Backing)
		assert.True(t, content[root.Backing], "%s lies on %s, which is not there or not whole: %v", machine, root.Backing, h.VolumeNames())
	}
}

// during runs do once, right before the n-th call of any method that f makes. It says
// whether f came that far.
func during(h *enginetest.Host, n int, do, f func()) bool {
	var (
		count  atomic.Int64
		inside atomic.Bool
	)
	methods := append([]string{"Domain", "Volume", "ListVolumes", "ListDomains", "Pool", "Network", "Capabilities", "ReadRange"}, changing...)
	for _, method := range methods {
		h.Before(method, func() {
			if !inside.Load() && count.Add(1) == int64(n) {
				inside.Store(true)
				do()
				inside.Store(false)
			}
		})
	}
	f()
	for _, method := range methods {
		h.Before(method, nil)
	}
	return count.Load() >= int64(n)
}

// TestPruneNeverRacesWithUp lets one client prune, or take its machine down, at every
// moment of another's up, and the other way round.
func TestPruneNeverRacesWithUp(t *testing.T) {
	prune := func(t *testing.T, h *enginetest.Host) {
		_, err := client(h, "bob").Prune(t.Context(), false)
		require.NoError(t, err)
	}
	downs := func(t *testing.T, h *enginetest.Host) {
		_, err := client(h, "bob").Down(t.Context(), "theirs", engine.DownOptions{Force: true})
		require.NoError(t, err)
	}
	ups := func(t *testing.T, h *enginetest.Host) {
		_, err := client(h, "ann").Up(t.Context(), shared(t, "mine"), engine.Options{})
		require.NoError(t, err)
	}
	nothing := func(*testing.T, *enginetest.Host) {}
	theirs := func(t *testing.T, h *enginetest.Host) {
		_, err := client(h, "bob").Up(t.Context(), shared(t, "theirs"), engine.Options{})
		require.NoError(t, err)
	}
	unused := func(t *testing.T, h *enginetest.Host) {
		theirs(t, h)
		h.Fail("CreateVolume", 1, fault.New(fault.Other, "planted")) // the removal of its image fails
		_, err := client(h, "bob").Down(t.Context(), "theirs", engine.DownOptions{Force: true})
		require.Error(t, err)
		require.Contains(t, fmt.Sprint(h.VolumeNames()), "base-")
	}
	for name, tt := range map[string]struct {
		before, outer, inner func(*testing.T, *enginetest.Host)
	}{
		"prune during a first up":                {nothing, ups, prune},
		"prune and then, on an unused image, up": {unused, ups, prune},
		"down of the image's machine in up":      {theirs, ups, downs},
		"up during a prune":                      {unused, prune, ups},
		"up during a down":                       {theirs, downs, ups},
	} {
		t.Run(name, func(t *testing.T) {
			for n := 1; ; n++ {
				h := enginetest.NewHost(enginetest.Options{Remote: true})
				tt.before(t, h)
				more := during(h, n, func() { tt.inner(t, h) }, func() { tt.outer(t, h) })
				if more || strings.HasSuffix(name, "up") {
					sound(t, h, "mine")
				}
				_, err := client(h, "ann").Down(t.Context(), "mine", engine.DownOptions{Force: true})
				require.NoError(t, err)
				_, err = client(h, "bob").Down(t.Context(), "theirs", engine.DownOptions{Force: true})
				require.NoError(t, err)
				h.Wait(2 * time.Hour)
				_, err = client(h, "bob").Prune(t.Context(), false)
				require.NoError(t, err)
				assert.Empty(t, h.VolumeNames(), "moment %d", n)
				if !more {
					assert.Greater(t, n, 5)
					return
				}
			}
		})
	}
}

// TestTwoClientsUploadOneImage begins a second upload at every moment of the first, and
// fails the first at its end.
func TestTwoClientsUploadOneImage(t *testing.T) {
	for _, fails := range []bool{false, true} {
		for n := 1; ; n++ {
			h := enginetest.NewHost(enginetest.Options{Remote: true})
			if fails {
				h.Fail("StartDomain", 1, fault.New(fault.Other, "planted"))
			}
			secondFailed := false
			more := during(h, n, func() {
				_, err := client(h, "bob").Up(t.Context(), shared(t, "theirs"), engine.Options{})
				secondFailed = err != nil
			}, func() {
				_, err := client(h, "ann").Up(t.Context(), shared(t, "mine"), engine.Options{})
				if err == nil {
					sound(t, h, "mine")
				}
			})
			if more && !secondFailed {
				sound(t, h, "theirs")
			}
			for name, machine := range map[string]string{"ann": "mine", "bob": "theirs"} {
				_, err := client(h, name).Down(t.Context(), machine, engine.DownOptions{Force: true})
				require.NoError(t, err)
			}
			_, err := client(h, "ann").Down(t.Context(), "mine", engine.DownOptions{Force: true})
			require.NoError(t, err)
			assert.Empty(t, h.VolumeNames(), "moment %d, fails: %v", n, fails)
			if !more {
				assert.Greater(t, n, 15)
				break
			}
		}
	}
}

// TestDownOfNothingLeavesOthersAlone: a down of a machine that is not there removes what
// its own killed up left and nothing else.
func TestDownOfNothingLeavesOthersAlone(t *testing.T) {
	h := enginetest.NewHost(enginetest.Options{Remote: true})
	for i, user := range []string{"ann", "bob"} {
		beforeUpload := []int{7, 3}[i] // the first one makes the pool
		require.True(t, killed(h, beforeUpload, func() { _, _ = client(h, user).Up(t.Context(), shared(t, user), engine.Options{}) }))
	}
	left := h.VolumeNames()
	require.Contains(t, fmt.Sprint(left), "ann")
	require.Contains(t, fmt.Sprint(left), "bob")
	removal, err := client(h, "ann").Down(t.Context(), "ann", engine.DownOptions{})
	require.NoError(t, err)
	assert.True(t, removal.Existed)
	for _, name := range h.VolumeNames() {
		assert.Contains(t, name, "bob")
	}
	assert.NotEmpty(t, h.VolumeNames())

	pruned, err := client(h, "ann").Prune(t.Context(), false)
	require.NoError(t, err)
	assert.Empty(t, pruned, "it may be at work yet")
	h.Wait(2 * time.Hour)
	pruned, err = client(h, "ann").Prune(t.Context(), false)
	require.NoError(t, err)
	assert.NotEmpty(t, pruned)
	_, err = client(h, "bob").Down(t.Context(), "bob", engine.DownOptions{})
	require.NoError(t, err)
	assert.Empty(t, h.VolumeNames())
}

// TestPruneIsHealed kills prune at every change; the next one ends the work.
func TestPruneIsHealed(t *testing.T) {
	for n := 1; ; n++ {
		h := enginetest.NewHost(enginetest.Options{Remote: true})
		for _, machine := range []string{"a", "b"} {
			w := shared(t, machine)
			w.Image.ID += machine
			_, err := client(h, "ann").Up(t.Context(), w, engine.Options{})
			require.NoError(t, err)
		}
		// virsh takes a root disk away.
		require.NoError(t, h.DestroyDomain(t.Context(), "a"))
		require.NoError(t, h.UndefineDomain(t.Context(), "a"))
		require.NoError(t, h.DeleteVolume(t.Context(), engine.RootVolume("a")))
		died := killed(h, n, func() { _, _ = client(h, "bob").Prune(t.Context(), false) })
		_, err := client(h, "bob").Prune(t.Context(), false)
		require.NoError(t, err)
		for _, name := range h.VolumeNames() {
			assert.False(t, strings.HasPrefix(name, "base-sha256-0123456789abcdefa"), "%d %v", n, h.Changes())
		}
		sound(t, h, "b")
		if !died {
			assert.Greater(t, n, 3)
			return
		}
	}
}

func TestImagesAreListed(t *testing.T) {
	h := enginetest.NewHost(enginetest.Options{})
	ann := client(h, "ann")
	_, err := ann.Images(t.Context())
	require.NoError(t, err, "without a pool")
	for _, machine := range []string{"a", "b"} {
		_, err := client(h, "ann").Up(t.Context(), shared(t, machine), engine.Options{})
		require.NoError(t, err)
	}
	up(t, h, inStore(), engine.Options{})
	base := ""
	for _, name := range h.VolumeNames() {
		if strings.HasPrefix(name, "base-") && strings.HasSuffix(name, ".qcow2") {
			base = name
		}
	}
	h.PlantVolume(engine.Volume{Name: "base-sha256-gone.raw", Allocation: 5}, nil)
	h.PlantVolume(engine.Volume{Name: "base-sha256-gone.raw.ok"}, []byte("\x00no origin"))
	h.PlantVolume(engine.Volume{Name: "base-sha256-new.eve-1.raw"}, nil)
	h.PlantVolume(engine.Volume{Name: "base-sha256-new.ann-1.raw"}, nil)
	h.PlantVolume(engine.Volume{Name: "base-sha256-foreign.raw"}, nil)
	h.PlantVolume(engine.Volume{Name: "base-sha256-foreign.raw.ok"}, nil)
	h.PlantDomain(engine.Domain{Name: "win", UUID: "11111111-2222-3333-4444-555555555555", Disks: []string{"/var/lib/libvirt/images/vmctl/base-sha256-foreign.raw"}})
	h.Forget()
	images, err := ann.Images(t.Context())
	require.NoError(t, err)
	assert.Empty(t, h.Changes(), "looking changes nothing")
	type row struct {
		name, state, users, source string
	}
	var got []row
	for _, i := range images {
		got = append(got, row{i.Name, string(i.State), strings.Join(i.UsedBy, " "), i.Origin.Source})
	}
	assert.Equal(t, []row{
		{"", "in use", "example", "images/example"},
		{base, "in use", "a b", "./disk.qcow2"},
		{"base-sha256-foreign.raw", "in use", "win", ""},
		{"base-sha256-gone.raw", "unused", "", ""},
		{"base-sha256-new.ann-1.raw", "unfinished", "", ""},
		{"base-sha256-new.eve-1.raw", "busy", "", ""},
	}, got)

	would, err := ann.Prune(t.Context(), true)
	require.NoError(t, err)
	assert.Empty(t, h.Changes(), "a dry run changes nothing")
	did, err := ann.Prune(t.Context(), false)
	require.NoError(t, err)
	assert.ElementsMatch(t, would, did)
	assert.ElementsMatch(t, []engine.Pruned{
		{Name: "base-sha256-new.ann-1.raw", Image: "sha256-new", Why: "left behind by an upload that was cut short"},
		{Name: "base-sha256-gone.raw", Image: "sha256-gone", Why: "nothing uses it", Size: 5},
	}, did)
	sound(t, h, "a", "b")
}

func TestReplacingRemovesTheImageThatWasLeft(t *testing.T) {
	h := enginetest.NewHost(enginetest.Options{Remote: true})
	first := shared(t, "example")
	_, err := client(h, "ann").Up(t.Context(), first, engine.Options{})
	require.NoError(t, err)
	second := first
	second.Image.ID = "sha256-fedcba9876543210"
	plan, err := client(h, "ann").Plan(t.Context(), second, engine.Options{Replace: true})
	require.NoError(t, err)
	assert.Contains(t, plan.Notes, "image sha256-0123456789ab is removed from the host then, unless something else uses it")
	_, err = client(h, "bob").Up(t.Context(), second, engine.Options{Replace: true})
	require.NoError(t, err)
	assert.NotContains(t, fmt.Sprint(h.VolumeNames()), first.Image.ID)
	sound(t, h, "example")
}

func TestALeaseIsGivenBack(t *testing.T) {
	for _, method := range []string{"Upload", "CreateOverlay", "StartDomain"} {
		h := enginetest.NewHost(enginetest.Options{Remote: true})
		ctx, cancel := context.WithCancel(t.Context())
		h.Before(method, cancel)
		_, err := client(h, "ann").Up(ctx, shared(t, "example"), engine.Options{})
		require.Error(t, err)
		h.Before(method, nil)
		assert.Empty(t, h.VolumeNames(), method)
	}
}

func TestTwentyMachinesShareOneImage(t *testing.T) {
	h := enginetest.NewHost(enginetest.Options{Remote: true})
	var names []string
	for i := range 20 {
		name := fmt.Sprintf("m%02d", i)
		names = append(names, name)
		_, err := client(h, []string{"ann", "bob"}[i%2]).Up(t.Context(), shared(t, name), engine.Options{})
		require.NoError(t, err)
	}
	uploads := 0
	for _, change := range h.Changes() {
		if strings.HasPrefix(change, "Upload") && !strings.Contains(change, ".ok ") {
			uploads++
		}
	}
	assert.Equal(t, 1, uploads)
	sound(t, h, names...)
	images, err := client(h, "ann").Images(t.Context())
	require.NoError(t, err)
	require.Len(t, images, 1)
	assert.Equal(t, names, images[0].UsedBy)
	for i, name := range names {
		_, err := client(h, []string{"bob", "ann"}[i%2]).Down(t.Context(), name, engine.DownOptions{Force: true})
		require.NoError(t, err)
	}
	assert.Empty(t, h.VolumeNames())
}

func TestPruneAsksLittle(t *testing.T) {
	h := enginetest.NewHost(enginetest.Options{Remote: true})
	_, err := client(h, "ann").Up(t.Context(), shared(t, "mine"), engine.Options{})
	require.NoError(t, err)
	for i := range 250 {
		name := fmt.Sprintf("base-nix-%04d.raw", i)
		h.PlantVolume(engine.Volume{Name: name, Allocation: 1}, nil)
		h.PlantVolume(engine.Volume{Name: name + ".ok"}, nil)
	}
	h.Forget()
	pruned, err := client(h, "ann").Prune(t.Context(), false)
	require.NoError(t, err)
	assert.Len(t, pruned, 250)
	asked := len(h.Calls()) - len(h.Changes())
	assert.LessOrEqual(t, asked, 8, "what is asked does not grow with what there is")
	sound(t, h, "mine")
}
