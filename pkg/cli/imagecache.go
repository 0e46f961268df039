package cli

import (
	"context"
	"slices"

	"vmctl/pkg/engine"
	"vmctl/pkg/image"
	"vmctl/pkg/progress"
	"vmctl/pkg/state"
)

// withCached adds the images that were downloaded, unpacked or converted here.
func (c *call) withCached(all []imageResult) []imageResult {
	dirs, err := c.dirs()
	if err != nil {
		return all
	}
	notes := notesByPath(dirs)
	files := image.CachedFiles(dirs.Cache)
	needed := image.Needed(files, c.pathsInUse(dirs, all))
	var found []imageResult
	for _, f := range files {
		r := imageResult{
			ID: "sha256-" + f.SHA256, Where: whereCache, Name: f.Key, Path: f.Path, Size: f.Size,
			State: string(engine.ImageUnused), UsedBy: []string{}, Origin: engine.Origin{Source: f.From},
		}
		if n, ok := notes[f.Path]; ok {
			r.ID, r.Format, r.Capacity, r.Origin = n.id, n.Format, n.Capacity, n.Origin
		}
		if needed[f.Key] {
			r.State, r.UsedBy = string(engine.ImageUsed), usersOfID(all, r.ID)
		}
		found = append(found, r)
	}
	return append(all, found...)
}

type notedImage struct {
	imageNote
	id string
}

func notesByPath(dirs state.Dirs) map[string]notedImage {
	all := map[string]notedImage{}
	notes := dirs.Images()
	for _, id := range notes.Names() {
		if n := readImageNote(notes, id); n.Path != "" {
			all[n.Path] = notedImage{n, id}
		}
	}
	return all
}

func usersOfID(all []imageResult, id string) []string {
	users := []string{}
	for _, r := range all {
		if r.ID == id {
			users = append(users, r.UsedBy...)
		}
	}
	slices.Sort(users)
	return slices.Compact(users)
}

// pathsInUse are the files of images that machines use, or that the project's definitions name.
func (c *call) pathsInUse(dirs state.Dirs, all []imageResult) []string {
	declared := map[string]bool{}
	if machines, _, err := c.machinesByHost(); err == nil {
		for _, onHost := range machines {
			for _, m := range onHost {
				declared[m.Image.String()] = true
			}
		}
	}
	var paths []string
	for path, n := range notesByPath(dirs) {
		if declared[n.Source] || len(usersOfID(all, n.id)) > 0 {
			paths = append(paths, path)
		}
	}
	return paths
}

// pruneCache removes the downloaded, unpacked and converted images that nothing needs.
func (c *call) pruneCache(ctx context.Context, dry bool) ([]prunedImage, error) {
	dirs, err := c.dirs()
	if err != nil || len(image.CachedFiles(dirs.Cache)) == 0 {
		return nil, nil
	}
	all, err := c.allImages(ctx)
	if err != nil {
		return nil, err // a machine that is not seen may need one
	}
	var pruned []prunedImage
	var keys []string
	for _, r := range all {
		if r.Where == whereCache && r.State == string(engine.ImageUnused) {
			pruned = append(pruned, prunedImage{ID: r.ID, Where: whereCache, Name: r.Name, Why: "nothing uses it", Size: r.Size})
			keys = append(keys, r.Name)
		}
	}
	if dry || len(keys) == 0 {
		return pruned, nil
	}
	dropped, err := image.DropCached(dirs.Cache, keys)
	if err != nil {
		return nil, err
	}
	if !dropped {
		c.progress.Emit(progress.Event{ID: "prune/cache", Status: progress.Note, Text: "another vmctl is using the cache of images: it is left alone"})
		return nil, nil
	}
	return pruned, nil
}
