package cli

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"vmctl/pkg/builder"
	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
	"vmctl/pkg/state"
)

// imageNote is what is noted on the client about an image.
type imageNote struct {
	engine.Origin
	// Path is the file, and OutPath the store path that it lies in, if nix built it.
	Path     string    `json:"path"`
	OutPath  string    `json:"outPath,omitempty"`
	Format   string    `json:"format"`
	Capacity spec.Size `json:"capacity"`
}

func readImageNote(notes state.Notes, id string) imageNote {
	var n imageNote
	if json.Unmarshal(notes.Read(id), &n) != nil {
		return imageNote{}
	}
	return n
}

// keptImage is an image in the nix store that roots of ours keep.
type keptImage struct {
	id   string
	note imageNote
	out  string
	// roots are those that keep it.
	roots []state.Roots
}

// keptImages are the images that are kept from nix's garbage collection.
func keptImages(dirs state.Dirs) []keptImage {
	notes := dirs.Images()
	byOut := map[string]string{}
	for _, id := range notes.Names() {
		if n := readImageNote(notes, id); n.OutPath != "" {
			byOut[n.OutPath] = id
		}
	}
	var all []keptImage
	for _, r := range dirs.AllRoots() {
		for _, out := range builder.Kept(r.Dir) {
			i := slices.IndexFunc(all, func(k keptImage) bool { return k.out == out })
			if i < 0 {
				k := keptImage{id: byOut[out], out: out}
				if k.id == "" {
					hash, _, _ := strings.Cut(filepath.Base(out), "-")
					k.id = "nix-" + hash
				}
				k.note = readImageNote(notes, k.id)
				all = append(all, k)
				i = len(all) - 1
			}
			all[i].roots = append(all[i].roots, r)
		}
	}
	return all
}

// size is what the image takes in the store.
func (k keptImage) size() spec.Size {
	path := k.note.Path
	if path == "" {
		path = k.out
	}
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() {
		return 0
	}
	if taken := stat.Blocks * 512; taken > 0 && taken < info.Size() {
		return spec.Size(taken) // it has holes
	}
	return spec.Size(info.Size())
}

// withClientImages adds the images that are kept here. Those that a host uses in place
// are the same ones.
func (c *call) withClientImages(all []imageResult, present map[string]map[string]bool) []imageResult {
	dirs, err := c.dirs()
	if err != nil {
		return all
	}
	for _, k := range keptImages(dirs) {
		r := imageResult{
			ID: k.id, Where: whereStore, Path: k.note.Path, Format: k.note.Format, Capacity: k.note.Capacity,
			Size: k.size(), State: string(engine.ImageUnused), UsedBy: []string{}, Origin: k.note.Origin,
		}
		if r.Path == "" {
			r.Path = k.out
		}
		for _, root := range k.roots {
			if user, there := userOf(root, present); there {
				r.State = string(engine.ImageUsed)
				r.UsedBy = append(r.UsedBy, user)
			}
		}
		all = slices.DeleteFunc(all, func(h imageResult) bool {
			same := h.Where == whereInPlace && (h.Path == r.Path || strings.HasPrefix(h.Path, k.out+"/"))
			if same {
				r.UsedBy, r.State, r.Path = append(r.UsedBy, h.UsedBy...), string(engine.ImageUsed), h.Path
			}
			return same
		})
		slices.Sort(r.UsedBy)
		r.UsedBy = slices.Compact(r.UsedBy)
		all = append(all, r)
	}
	return all
}

// userOf is who a root keeps an image for, and whether they are there. Of a host that
// was not asked, nobody knows: it counts as there.
func userOf(r state.Roots, present map[string]map[string]bool) (user string, there bool) {
	if r.Host == "" {
		return "build of " + r.Machine, isDeclared(r)
	}
	for uri, machines := range present {
		if state.HostName(uri) == r.Host {
			return r.Machine, machines[r.Machine]
		}
	}
	return r.Machine + " on " + r.Host, true
}

// isDeclared says that the machine of a build is still in its project.
func isDeclared(r state.Roots) bool {
	if r.Project == "" {
		return false
	}
	_, err := os.Stat(filepath.Join(r.Project, "domain", r.Machine+".yaml"))
	return err == nil || !os.IsNotExist(err)
}

// pruneRoots drops the roots of machines that are not on the host any more.
func (c *call) pruneRoots(ctx context.Context, e *engine.Engine, dry bool) ([]prunedImage, error) {
	dirs, err := c.dirs()
	if err != nil {
		return nil, nil // then there are none
	}
	var failed error
	gone := func(r state.Roots) bool {
		if r.Host != state.HostName(e.Host.URI) {
			return false
		}
		_, err := e.Host.Domains.Domain(ctx, r.Machine)
		if err != nil && !fault.Is(err, fault.NotFound) && failed == nil {
			failed = err
		}
		return fault.Is(err, fault.NotFound)
	}
	pruned := pruneKept(dirs, dry, gone, func(r state.Roots) *state.Locks { return c.locks(dirs, e.Host.URI) })
	return pruned, failed
}

// pruneClient drops the roots of builds whose machine is in no project any more, and
// what is noted about images that are gone.
func (c *call) pruneClient(dry bool) []prunedImage {
	dirs, err := c.dirs()
	if err != nil {
		return nil
	}
	gone := func(r state.Roots) bool { return r.Host == "" && !isDeclared(r) }
	pruned := pruneKept(dirs, dry, gone, func(state.Roots) *state.Locks { return c.locks(dirs, buildSpace) })
	notes := dirs.Images()
	for _, id := range notes.Names() {
		n := readImageNote(notes, id)
		if _, err := os.Lstat(n.Path); !dry && (n.Path == "" || os.IsNotExist(err)) {
			notes.Remove(id)
		}
	}
	return pruned
}

// pruneKept drops the roots that are of no use any more, as gone says. It is asked again
// under the lock that an up or a build holds from before it makes a root until its
// machine is there. Told of are the images that nothing keeps then.
func pruneKept(dirs state.Dirs, dry bool, gone func(state.Roots) bool, locks func(state.Roots) *state.Locks) []prunedImage {
	var pruned []prunedImage
	for _, k := range keptImages(dirs) {
		stays := false
		for _, r := range k.roots {
			stays = !gone(r) || stays
		}
		if stays {
			continue
		}
		pruned = append(pruned, prunedImage{ID: k.id, Where: whereStore, Name: "", Why: "its machine is gone", Size: k.size()})
	}
	if dry {
		return pruned
	}
	for _, r := range dirs.AllRoots() {
		if gone(r) {
			_ = dropRoots(locks(r), r.Machine, r.Dir, func() bool { return gone(r) })
		}
	}
	still := map[string]bool{}
	for _, k := range keptImages(dirs) {
		still[k.id] = true
	}
	return slices.DeleteFunc(pruned, func(p prunedImage) bool { return still[p.ID] })
}
