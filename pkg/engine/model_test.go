package engine_test

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"vmctl/pkg/engine"
	"vmctl/pkg/engine/enginetest"
	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// world is what there should be: a simple model of one host with two machines on it.
type world struct {
	h    *enginetest.Host
	file engine.Wanted

	machines map[string]*machine
	// volumes are the sizes of the data volumes that there are, by MACHINE/VOLUME.
	volumes map[string]spec.Size
}

// machine is one of the model's machines.
type machine struct {
	defined, running bool
	// foreign says that somebody else has a domain of this name.
	foreign bool
	// image and disk are the root disk's; disk is 0 when there is none.
	image string
	disk  spec.Size
	// has are the data volumes that its domain has.
	has []string
	// booted says that there is a log, which down removes.
	booted bool
	// kept says that what the guest wrote into the root disk must still be there.
	kept bool
}

// TestModel carries out random commands on a host in memory and on the model, and compares.
// A failing sequence is shrunk and printed with its seed. MODEL_CHECKS says how many are tried.
func TestModel(t *testing.T) {
	checks := os.Getenv("MODEL_CHECKS")
	if checks == "" {
		checks = "1000"
	}
	require.NoError(t, flag.Set("rapid.checks", checks))
	require.NoError(t, flag.Set("rapid.nofailfile", "true"))
	file := inFile(t)
	rapid.Check(t, func(r *rapid.T) {
		w := &world{
			h: enginetest.NewHost(enginetest.Options{}), file: file,
			machines: map[string]*machine{"example": {}, "web": {}}, volumes: map[string]spec.Size{},
		}
		w.h.PlantPool(engine.Pool{Name: "vmctl", Target: "/var/lib/libvirt/images/vmctl", State: engine.PoolActive, Autostart: true})
		w.h.PlantVolume(engine.Volume{Name: "theirs.qcow2", Format: "qcow2", Capacity: spec.GiB}, []byte("theirs"))
		w.h.PlantDomain(engine.Domain{
			Name: "theirs", UUID: "11111111-2222-3333-4444-555555555555", State: engine.StateRunning, Memory: spec.GiB, CPUs: 1,
			Disks: []string{"/var/lib/libvirt/images/vmctl/theirs.qcow2"},
		})
		r.Repeat(map[string]func(*rapid.T){
			"up": w.up, "down": w.down, "stop": w.stop, "start": w.start, "plan": w.plan,
			"volume create": w.volumeCreate, "volume resize": w.volumeResize, "volume rm": w.volumeRemove,
			"image prune": w.prune, "somebody else": w.meddle,
			"": w.compare,
		})
	})
}

func (w *world) pick(r *rapid.T) (string, *machine) {
	name := rapid.SampledFrom([]string{"example", "web"}).Draw(r, "machine")
	return name, w.machines[name]
}

// run does something, sometimes cut short at one of its calls and then done again.
func (w *world) run(r *rapid.T, do func(context.Context, *engine.Engine) error) error {
	if rapid.IntRange(0, 3).Draw(r, "disturbed") == 0 {
		d := rapid.SampledFrom(disturbances).Draw(r, "how")
		n := rapid.Int64Range(1, 40).Draw(r, "at call")
		ctx, cancel := context.WithCancel(context.Background())
		var calls atomic.Int64
		w.h.Each(func(string) enginetest.Fate {
			if calls.Add(1) != n {
				return enginetest.Fate{}
			}
			return d.at(w.h, cancel)
		})
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = do(ctx, on(w.h))
		}()
		<-done
		cancel()
		w.h.Each(nil)
		w.h.Mend()
	}
	return do(context.Background(), on(w.h))
}

// wanted draws a definition.
func (w *world) wanted(r *rapid.T, name string) engine.Wanted {
	out := inStore()
	if rapid.Bool().Draw(r, "uploaded") {
		out.Image = w.file.Image
	}
	out.Machine.Name, out.Machine.Autostart = name, false
	out.Machine.CPUs = rapid.IntRange(1, 2).Draw(r, "cpus")
	out.Machine.Memory = spec.Size(rapid.IntRange(1, 2).Draw(r, "memory")) * spec.GiB
	out.Machine.Disk = spec.Size(rapid.IntRange(9, 10).Draw(r, "disk")) * spec.GiB
	for _, v := range []string{"a", "b"} {
		if size := rapid.IntRange(0, 2).Draw(r, v); size > 0 {
			out.Machine.Volumes = append(out.Machine.Volumes, volume(v, spec.Size(size)*spec.GiB))
		}
	}
	return out
}

// refuses says why an up is to be refused, or nothing.
func (w *world) refuses(m *machine, wanted engine.Wanted, o engine.Options) string {
	if m.foreign {
		return "foreign"
	}
	for _, v := range wanted.Machine.Volumes {
		if w.volumes[wanted.Machine.Name+"/"+v.Name] > v.Size {
			return "a volume would shrink"
		}
	}
	switch {
	case o.Replace:
		return ""
	case m.disk == 0 && m.running:
		return "the root disk is gone below the guest"
	case m.disk > 0 && m.image != wanted.Image.ID:
		return "another image"
	case m.disk > wanted.Machine.Disk:
		return "the disk would shrink"
	}
	return ""
}

func (w *world) up(r *rapid.T) {
	name, m := w.pick(r)
	wanted := w.wanted(r, name)
	o := engine.Options{Replace: rapid.Bool().Draw(r, "replace"), Restart: rapid.Bool().Draw(r, "restart"), StopTimeout: time.Minute}
	err := w.run(r, func(ctx context.Context, e *engine.Engine) error { _, err := e.Up(ctx, wanted, o); return err })
	if why := w.refuses(m, wanted, o); why != "" {
		require.Equal(r, fault.Refused, fault.KindOf(err), "%s: %v", why, err)
		return
	}
	require.NoError(r, err)
	same := m.disk > 0 && m.image == wanted.Image.ID && m.disk <= wanted.Machine.Disk
	m.defined, m.running, m.booted, m.image, m.disk, m.has = true, true, true, wanted.Image.ID, wanted.Machine.Disk, nil
	m.kept = m.kept && same
	for _, v := range wanted.Machine.Volumes {
		w.volumes[name+"/"+v.Name] = v.Size
		m.has = append(m.has, v.Name)
	}
	if !m.kept { // the guest writes
		disk, err := w.h.Volume(context.Background(), engine.RootVolume(name))
		require.NoError(r, err)
		disk.Allocation = spec.MiB
		w.h.PlantVolume(*disk, []byte("precious"))
		m.kept = true
	}
	for _, v := range m.has {
		require.NoError(r, w.h.Upload(context.Background(), engine.DataVolume(name, v), strings.NewReader("precious"), 8, nil))
	}
	again, err := on(w.h).Plan(context.Background(), wanted, engine.Options{})
	require.NoError(r, err)
	require.Empty(r, again.Ops, "a second up has nothing to do")
}

func (w *world) plan(r *rapid.T) {
	name, m := w.pick(r)
	wanted := w.wanted(r, name)
	before := w.h.Dump()
	_, err := on(w.h).Plan(context.Background(), wanted, engine.Options{})
	if m.foreign {
		require.Equal(r, fault.Refused, fault.KindOf(err))
	}
	require.Equal(r, before, w.h.Dump(), "a plan changes nothing")
}

func (w *world) down(r *rapid.T) {
	name, m := w.pick(r)
	volumes := rapid.IntRange(0, 3).Draw(r, "volumes") == 0
	err := w.run(r, func(ctx context.Context, e *engine.Engine) error {
		_, err := e.Down(ctx, name, engine.DownOptions{Force: true, Volumes: volumes})
		return err
	})
	if m.foreign {
		require.Equal(r, fault.Refused, fault.KindOf(err))
		return
	}
	require.NoError(r, err)
	*m = machine{}
	if volumes {
		maps.DeleteFunc(w.volumes, func(v string, _ spec.Size) bool { return strings.HasPrefix(v, name+"/") })
	}
}

func (w *world) stop(r *rapid.T) {
	name, m := w.pick(r)
	err := w.run(r, func(ctx context.Context, e *engine.Engine) error {
		_, err := e.Stop(ctx, name, engine.DownOptions{Timeout: time.Minute})
		return err
	})
	if w.there(r, m, err) {
		m.running = false
	}
}

func (w *world) start(r *rapid.T) {
	name, m := w.pick(r)
	err := w.run(r, func(ctx context.Context, e *engine.Engine) error {
		_, err := e.Start(ctx, name, engine.StartOptions{})
		return err
	})
	gone := slices.ContainsFunc(m.has, func(v string) bool { return w.volumes[name+"/"+v] == 0 })
	if m.defined && !m.running && (m.disk == 0 || gone) {
		require.Error(r, err, "a disk is gone")
		return
	}
	if w.there(r, m, err) {
		m.running = true
	}
}

// there holds a command to what it is to say of a machine that is foreign or not there.
func (w *world) there(r *rapid.T, m *machine, err error) bool {
	switch {
	case m.foreign:
		require.Equal(r, fault.Refused, fault.KindOf(err))
	case !m.defined:
		require.Equal(r, fault.NotFound, fault.KindOf(err))
	default:
		require.NoError(r, err)
	}
	return m.defined && !m.foreign
}

func (w *world) pickVolume(r *rapid.T) (machine, volume, key string, attached bool) {
	name, m := w.pick(r)
	v := rapid.SampledFrom([]string{"a", "b"}).Draw(r, "volume")
	if m.foreign {
		r.Skip("volumes are refused like the machine")
	}
	return name, v, name + "/" + v, slices.Contains(m.has, v)
}

func (w *world) volumeCreate(r *rapid.T) {
	name, v, key, _ := w.pickVolume(r)
	was := w.volumes[key]
	err := w.run(r, func(ctx context.Context, e *engine.Engine) error {
		return e.CreateDataVolume(ctx, name, v, spec.GiB, false)
	})
	if was > 0 {
		require.Equal(r, fault.Refused, fault.KindOf(err))
		return
	}
	if err != nil { // it was made by the run that was cut short
		require.Equal(r, fault.Refused, fault.KindOf(err))
	}
	w.volumes[key] = spec.GiB
	require.NoError(r, w.h.Upload(context.Background(), engine.DataVolume(name, v), strings.NewReader("precious"), 8, nil))
}

func (w *world) volumeResize(r *rapid.T) {
	name, v, key, _ := w.pickVolume(r)
	size := spec.Size(rapid.IntRange(1, 3).Draw(r, "size")) * spec.GiB
	err := w.run(r, func(ctx context.Context, e *engine.Engine) error {
		_, err := e.ResizeDataVolume(ctx, name, v, size)
		return err
	})
	switch was := w.volumes[key]; {
	case was == 0:
		require.Equal(r, fault.NotFound, fault.KindOf(err))
	case was > size:
		require.Equal(r, fault.Refused, fault.KindOf(err))
	default:
		require.NoError(r, err)
		w.volumes[key] = size
	}
}

func (w *world) volumeRemove(r *rapid.T) {
	name, v, key, attached := w.pickVolume(r)
	was := w.volumes[key]
	err := w.run(r, func(ctx context.Context, e *engine.Engine) error { return e.RemoveDataVolume(ctx, name, v) })
	switch {
	case was == 0:
		require.Equal(r, fault.NotFound, fault.KindOf(err))
	case attached:
		require.Equal(r, fault.Refused, fault.KindOf(err))
	default:
		if err != nil { // the run that was cut short did it
			require.Equal(r, fault.NotFound, fault.KindOf(err))
		}
		delete(w.volumes, key)
	}
}

func (w *world) prune(r *rapid.T) {
	err := w.run(r, func(ctx context.Context, e *engine.Engine) error { _, err := e.Prune(ctx, false); return err })
	require.NoError(r, err)
}

// meddle is somebody else with virsh.
func (w *world) meddle(r *rapid.T) {
	name, m := w.pick(r)
	ctx := context.Background()
	switch what := rapid.SampledFrom([]string{"crash", "undefine", "vol-delete", "take the name", "give the name back", "pool-destroy"}).Draw(r, "what"); {
	case what == "crash" && m.running:
		w.h.Crash(name)
		m.running = false
	case what == "undefine" && m.defined && !m.running:
		require.NoError(r, w.h.UndefineDomain(ctx, name))
		m.defined, m.has = false, nil
	case what == "vol-delete" && m.disk > 0 && !m.running:
		require.NoError(r, w.h.DeleteVolume(ctx, engine.RootVolume(name)))
		m.disk, m.kept = 0, false
	case what == "take the name" && !m.defined && !m.foreign:
		w.h.PlantDomain(engine.Domain{Name: name, UUID: fmt.Sprintf("22222222-2222-3333-4444-%012d", len(name)), State: engine.StateShutOff, Memory: spec.GiB, CPUs: 1})
		m.foreign = true
	case what == "give the name back" && m.foreign:
		require.NoError(r, w.h.UndefineDomain(ctx, name))
		m.foreign = false
	case what == "pool-destroy":
		w.h.StopPool()
		_, err := on(w.h).Up(ctx, func() engine.Wanted { x := inStore(); x.Machine.Name = "passing"; return x }(), engine.Options{})
		require.NoError(r, err) // somebody's up makes it active again
		_, err = on(w.h).Down(ctx, "passing", engine.DownOptions{Force: true})
		require.NoError(r, err)
	default:
		r.Skip("does not apply")
	}
}

// compare holds the host to the model.
func (w *world) compare(r *rapid.T) {
	ctx := context.Background()
	files := map[string]bool{"theirs.qcow2": true}
	for name, m := range w.machines {
		d, err := w.h.Domain(ctx, name)
		if err != nil {
			require.Equal(r, fault.NotFound, fault.KindOf(err))
			require.False(r, m.defined || m.foreign, "%s is there", name)
		} else {
			require.Equal(r, m.foreign, d.Record == nil, "%s is foreign", name)
			require.True(r, m.defined || m.foreign, "%s is not there", name)
			require.Equal(r, m.running, d.State.Active(), "%s runs", name)
		}
		if m.disk > 0 {
			v, err := w.h.Volume(ctx, engine.RootVolume(name))
			require.NoError(r, err, "%s has a root disk", name)
			require.Equal(r, m.disk, v.Capacity)
			if m.kept {
				require.True(r, w.written(r, v.Name), "what the guest of %s wrote is there", name)
			}
			files[v.Name] = true
		}
		if m.booted {
			files[engine.LogVolume(name)] = true
		}
	}
	for key, size := range w.volumes {
		name, v, _ := strings.Cut(key, "/")
		there, err := w.h.Volume(ctx, engine.DataVolume(name, v))
		require.NoError(r, err, "volume %s is there", key)
		require.Equal(r, size, there.Capacity, key)
		require.True(r, w.written(r, there.Name), "what is in %s is there", key)
		files[there.Name] = true
	}
	for _, name := range w.h.VolumeNames() {
		if !strings.HasPrefix(name, "base-") {
			require.True(r, files[name], "%s is left behind", name)
		}
	}
	all := foreign(w.h.Dump())
	require.Len(r, slices.DeleteFunc(all, func(line string) bool { return strings.HasPrefix(line, "network") }), 2, "what is theirs is there")
}

func (w *world) written(r *rapid.T, volume string) bool {
	content, err := w.h.ReadVolume(context.Background(), volume, 0)
	require.NoError(r, err)
	defer func() { _ = content.Close() }()
	head := make([]byte, 8)
	_, _ = content.Read(head)
	return string(head) == "precious"
}
