package enginetest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// Subject is a host that Model works on, with a pool and things of somebody else's, and what
// else happens there.
type Subject interface {
	Host() *engine.Host
	Engine() *engine.Engine
	// Wanted is a definition without volumes, whose image is used in place or has to be uploaded.
	Wanted(name string, uploaded bool) engine.Wanted
	// Stop is how guests are stopped.
	Stop() engine.DownOptions
	// Disturbed does something that is cut short in the middle.
	Disturbed(r *rapid.T, do func(context.Context, *engine.Engine) error)

	// MayKeepDisks says that guests need not let go of a disk that is taken from them while they run.
	MayKeepDisks() bool
	// Boots is told of each root disk that a guest has begun to write to.
	Boots(r *rapid.T, machine string)
	// Write puts something into a data volume, and Written says whether what was put into a
	// volume is still there.
	Write(r *rapid.T, volume string)
	Written(r *rapid.T, volume string) bool

	// What somebody else does with virsh.
	Crash(r *rapid.T, machine string)
	Undefine(r *rapid.T, domain string)
	Delete(r *rapid.T, volume string)
	Take(r *rapid.T, name string)
	StopPool(r *rapid.T)

	// Volumes are the names of all that lies in the pool.
	Volumes(r *rapid.T) []string
	// Theirs describes what is somebody else's.
	Theirs(r *rapid.T) string
}

// Model carries out random commands on a host with nothing of vmctl's on it, and on a simple
// model of what should be there, and compares.
func Model(r *rapid.T, s Subject) {
	w := &world{
		s: s, theirs: s.Theirs(r),
		machines: map[string]*modelled{"example": {}, "web": {}}, volumes: map[string]spec.Size{},
	}
	r.Repeat(map[string]func(*rapid.T){
		"up": w.up, "down": w.down, "stop": w.stop, "start": w.start, "plan": w.plan,
		"volume create": w.volumeCreate, "volume resize": w.volumeResize, "volume rm": w.volumeRemove,
		"image prune": w.prune, "somebody else": w.meddle,
		"": w.compare,
	})
}

// world is what there should be: a simple model of one host with two machines on it.
type world struct {
	s      Subject
	theirs string

	machines map[string]*modelled
	// volumes are the sizes of the data volumes that there are, by MACHINE/VOLUME.
	volumes map[string]spec.Size
}

// modelled is one of the model's machines.
type modelled struct {
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

func (w *world) pick(r *rapid.T) (string, *modelled) {
	name := rapid.SampledFrom([]string{"example", "web"}).Draw(r, "machine")
	return name, w.machines[name]
}

// run does something, sometimes cut short and then done again.
func (w *world) run(r *rapid.T, do func(context.Context, *engine.Engine) error) error {
	if rapid.IntRange(0, 3).Draw(r, "disturbed") == 0 {
		w.s.Disturbed(r, do)
	}
	return do(context.Background(), w.s.Engine())
}

// wanted draws a definition.
func (w *world) wanted(r *rapid.T, name string) engine.Wanted {
	out := w.s.Wanted(name, rapid.Bool().Draw(r, "uploaded"))
	out.Machine.CPUs = rapid.IntRange(1, 2).Draw(r, "cpus")
	out.Machine.Memory = spec.Size(rapid.IntRange(1, 2).Draw(r, "memory")) * 64 * spec.MiB
	out.Machine.Disk = spec.Size(rapid.IntRange(9, 10).Draw(r, "disk")) * spec.GiB
	for _, v := range []string{"a", "b"} {
		if size := rapid.IntRange(0, 2).Draw(r, v); size > 0 {
			out.Machine.Volumes = append(out.Machine.Volumes, dataVolume(v, spec.Size(size)*spec.GiB))
		}
	}
	return out
}

// refuses says why an up is to be refused, or nothing.
func (w *world) refuses(m *modelled, wanted engine.Wanted, o engine.Options) string {
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
	o := engine.Options{Replace: rapid.Bool().Draw(r, "replace"), Restart: rapid.Bool().Draw(r, "restart"), StopTimeout: w.s.Stop().Timeout}
	err := w.run(r, func(ctx context.Context, e *engine.Engine) error { _, err := e.Up(ctx, wanted, o); return err })
	if why := w.refuses(m, wanted, o); why != "" {
		require.Equal(r, fault.Refused, fault.KindOf(err), "%s: %v", why, err)
		return
	}
	if w.s.MayKeepDisks() && fault.KindOf(err) == fault.Timeout && m.takesDisks(wanted) {
		w.halfway(r, m, wanted)
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
	if !m.kept {
		w.s.Boots(r, name)
		m.kept = true
	}
	for _, v := range m.has {
		w.s.Write(r, engine.DataVolume(name, v))
	}
	again, err := w.s.Engine().Plan(context.Background(), wanted, engine.Options{})
	require.NoError(r, err)
	require.Empty(r, again.Ops, "a second up has nothing to do")
}

// takesDisks says that a definition takes a data volume from the guest while it runs.
func (m *modelled) takesDisks(wanted engine.Wanted) bool {
	return m.running && slices.ContainsFunc(m.has, func(v string) bool {
		return !slices.ContainsFunc(wanted.Machine.Volumes, func(has spec.Volume) bool { return has.Name == v })
	})
}

// halfway follows an up that ended when the guest did not let go of a disk: what had grown before is larger, and what
// a run before it made is there.
func (w *world) halfway(r *rapid.T, m *modelled, wanted engine.Wanted) {
	grown := func(volume string, was, to spec.Size) spec.Size {
		v, err := w.s.Host().Volumes.Volume(context.Background(), volume)
		if fault.KindOf(err) == fault.NotFound {
			return was // compare says when it should be there
		}
		require.NoError(r, err)
		require.Contains(r, []spec.Size{was, to}, v.Capacity, volume)
		return v.Capacity
	}
	name := wanted.Machine.Name
	m.disk = grown(engine.RootVolume(name), m.disk, wanted.Machine.Disk)
	for _, v := range wanted.Machine.Volumes {
		if size := grown(engine.DataVolume(name, v.Name), w.volumes[name+"/"+v.Name], v.Size); size > 0 {
			w.volumes[name+"/"+v.Name] = size
		}
	}
}

func (w *world) plan(r *rapid.T) {
	name, m := w.pick(r)
	wanted := w.wanted(r, name)
	before := w.seen(r)
	_, err := w.s.Engine().Plan(context.Background(), wanted, engine.Options{})
	if m.foreign {
		require.Equal(r, fault.Refused, fault.KindOf(err))
	}
	require.Equal(r, before, w.seen(r), "a plan changes nothing")
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
	*m = modelled{}
	if volumes {
		maps.DeleteFunc(w.volumes, func(v string, _ spec.Size) bool { return strings.HasPrefix(v, name+"/") })
	}
}

func (w *world) stop(r *rapid.T) {
	name, m := w.pick(r)
	err := w.run(r, func(ctx context.Context, e *engine.Engine) error {
		_, err := e.Stop(ctx, name, w.s.Stop())
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
func (w *world) there(r *rapid.T, m *modelled, err error) bool {
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
	w.s.Write(r, engine.DataVolume(name, v))
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
		w.s.Crash(r, name)
		m.running = false
	case what == "undefine" && m.defined && !m.running:
		w.s.Undefine(r, name)
		m.defined, m.has = false, nil
	case what == "vol-delete" && m.disk > 0 && !m.running:
		w.s.Delete(r, engine.RootVolume(name))
		m.disk, m.kept = 0, false
	case what == "take the name" && !m.defined && !m.foreign:
		w.s.Take(r, name)
		m.foreign = true
	case what == "give the name back" && m.foreign:
		w.s.Undefine(r, name)
		m.foreign = false
	case what == "pool-destroy":
		w.s.StopPool(r)
		_, err := w.s.Engine().Up(ctx, w.s.Wanted("passing", false), engine.Options{})
		require.NoError(r, err) // somebody's up makes it active again
		_, err = w.s.Engine().Down(ctx, "passing", engine.DownOptions{Force: true})
		require.NoError(r, err)
	default:
		r.Skip("does not apply")
	}
}

// seen is what there is of the machines, in words.
func (w *world) seen(r *rapid.T) string {
	var all []string
	logs := map[string]bool{}
	for name := range w.machines {
		logs[engine.LogVolume(name)] = true
	}
	for _, name := range w.s.Volumes(r) {
		if logs[name] {
			all = append(all, name) // the guest writes into it
			continue
		}
		v, err := w.s.Host().Volumes.Volume(context.Background(), name)
		require.NoError(r, err)
		all = append(all, fmt.Sprintf("volume %s of %s on %s", name, v.Capacity, v.Backing))
	}
	for name := range w.machines {
		d, err := w.s.Host().Domains.Domain(context.Background(), name)
		if err == nil {
			all = append(all, fmt.Sprintf("domain %s %s %+v", name, d.State, d.Record))
		}
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

// compare holds the host to the model.
func (w *world) compare(r *rapid.T) {
	ctx := context.Background()
	files := map[string]bool{"theirs.qcow2": true}
	for name, m := range w.machines {
		d, err := w.s.Host().Domains.Domain(ctx, name)
		if err != nil {
			require.Equal(r, fault.NotFound, fault.KindOf(err))
			require.False(r, m.defined || m.foreign, "%s is there", name)
		} else {
			require.Equal(r, m.foreign, d.Record == nil, "%s is foreign", name)
			require.True(r, m.defined || m.foreign, "%s is not there", name)
			require.Equal(r, m.running, d.State.Active(), "%s runs", name)
		}
		if m.disk > 0 {
			v, err := w.s.Host().Volumes.Volume(ctx, engine.RootVolume(name))
			require.NoError(r, err, "%s has a root disk", name)
			require.Equal(r, m.disk, v.Capacity)
			if m.kept {
				require.True(r, w.s.Written(r, v.Name), "what the guest of %s wrote is there", name)
			}
			files[v.Name] = true
		}
		if m.booted {
			files[engine.LogVolume(name)] = true
		}
	}
	for key, size := range w.volumes {
		name, v, _ := strings.Cut(key, "/")
		there, err := w.s.Host().Volumes.Volume(ctx, engine.DataVolume(name, v))
		require.NoError(r, err, "volume %s is there", key)
		require.Equal(r, size, there.Capacity, key)
		require.True(r, w.s.Written(r, there.Name), "what is in %s is there", key)
		files[there.Name] = true
	}
	for _, name := range w.s.Volumes(r) {
		if !strings.HasPrefix(name, "base-") {
			require.True(r, files[name], "%s is left behind", name)
		}
	}
	require.Equal(r, w.theirs, w.s.Theirs(r), "what is theirs is there")
}

func dataVolume(name string, size spec.Size) spec.Volume {
	return spec.Volume{Name: name, Size: size, Format: spec.Ext4, Disk: spec.DiskRaw, Cache: "writeback", IO: "threads", Discard: "unmap"}
}
