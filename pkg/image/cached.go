package image

import (
	"encoding/hex"
	"path/filepath"
	"slices"
	"strings"

	"vmctl/pkg/fault"
	"vmctl/pkg/image/cache"
	"vmctl/pkg/spec"
)

// Cached is a file that Obtain downloaded, unpacked or converted.
type Cached struct {
	// Key is its name in the cache, Path the file.
	Key, Path string
	Size      spec.Size
	// SHA256 is the digest of its content, From where it came from.
	SHA256, From string
}

func images(cacheDir string) cache.Dir { return cache.Dir(filepath.Join(cacheDir, "images")) }

// CachedFiles are the files in the cache, sorted by key.
func CachedFiles(cacheDir string) []Cached {
	var all []Cached
	for key, e := range images(cacheDir).Entries() {
		all = append(all, Cached{Key: key, Path: e.Path, Size: spec.Size(e.Size), SHA256: e.SHA256, From: e.From})
	}
	slices.SortFunc(all, func(a, b Cached) int { return strings.Compare(a.Key, b.Key) })
	return all
}

// madeFrom is the digest of the file that an entry was unpacked or converted from.
func (c Cached) madeFrom() string {
	_, sum, _ := cutLast(c.Key)
	if raw, err := hex.DecodeString(sum); err != nil || len(raw) != 32 || !strings.HasPrefix(c.Key, unpackVersion) && !strings.HasPrefix(c.Key, convertVersion) {
		return ""
	}
	return sum
}

func cutLast(key string) (before, after string, ok bool) {
	i := strings.LastIndex(key, "-")
	return key[:max(i, 0)], key[i+1:], i >= 0
}

// Needed are those of the files at paths, and those that they were made from: without
// them the next Obtain would fetch and unpack them again.
func Needed(all []Cached, paths []string) map[string]bool {
	needed := map[string]bool{}
	var need func(Cached)
	need = func(c Cached) {
		if needed[c.Key] {
			return
		}
		needed[c.Key] = true
		if sum := c.madeFrom(); sum != "" {
			for _, source := range all {
				if source.SHA256 == sum {
					need(source)
				}
			}
		}
	}
	for _, c := range all {
		if slices.Contains(paths, c.Path) {
			need(c)
		}
	}
	return needed
}

// UseCache keeps DropCached from what Obtain gives until release is called.
func UseCache(cacheDir string) (release func(), err error) {
	release, err = images(cacheDir).Use()
	if err != nil {
		return nil, fault.New(fault.Build, "the cache of images cannot be used: %w", err).
			WithHint("make %s writable, or set XDG_CACHE_HOME to a directory that is", cacheDir)
	}
	return release, nil
}

// DropCached removes files from the cache, unless somebody uses it: then false.
func DropCached(cacheDir string, keys []string) (bool, error) {
	dir := images(cacheDir)
	release, err := dir.Clear()
	if err != nil || release == nil {
		return false, err
	}
	defer release()
	for _, key := range keys {
		if err := dir.Drop(key); err != nil {
			return true, fault.New(fault.Other, "an image cannot be removed from the cache: %w", err)
		}
	}
	return true, nil
}
