package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"vmctl/pkg/fault"
	"vmctl/pkg/progress"
	"vmctl/pkg/spec"
)

func put(t testing.TB, path string, data []byte) {
	require.NoError(t, os.WriteFile(path, data, 0o600))
}

// age makes a file's content old enough to be remembered; only the change time
// cannot be set, so the clock given to settled is moved in its own test.
func TestSettled(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	old, young := now.Add(-time.Minute).UnixNano(), now.Add(-time.Second).UnixNano()
	assert.True(t, stamp{MTime: old, CTime: old}.settled(now))
	assert.False(t, stamp{MTime: young, CTime: old}.settled(now))
	assert.False(t, stamp{MTime: old, CTime: young}.settled(now))
	assert.False(t, stamp{MTime: now.Add(time.Hour).UnixNano(), CTime: old}.settled(now))
}

func TestOpen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "disk.qcow2")
	put(t, path, sound())
	sum := sha256.Sum256(sound())
	var events []progress.Event
	img, err := Open(t.Context(), path, Options{
		Source: "./disk.qcow2", Task: "example/image",
		Progress: progress.Func(func(e progress.Event) { events = append(events, e) }),
	})
	require.NoError(t, err)
	assert.Equal(t, "sha256-"+hex.EncodeToString(sum[:]), img.ID)
	assert.Less(t, len(img.ID), 100)
	assert.Equal(t, "./disk.qcow2", img.Source)
	assert.Equal(t, path, img.Path)
	assert.Equal(t, spec.Size(len(sound())), img.FileSize)
	assert.False(t, img.InPlace)
	require.NotEmpty(t, events)
	last := events[len(events)-1]
	assert.Equal(t, progress.Done, last.Status)
	assert.Equal(t, last.Total, last.Current)
	assert.Equal(t, "example/image", last.ID)

	link := filepath.Join(dir, "link.qcow2")
	require.NoError(t, os.Symlink(path, link))
	again, err := Open(t.Context(), link, Options{})
	require.NoError(t, err)
	assert.Equal(t, img.ID, again.ID)
	assert.Equal(t, link, again.Source)
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put(t, filepath.Join(dir, "disk.qcow2"), sound())
	put(t, filepath.Join(dir, "disk.bin"), disk(1024))
	put(t, filepath.Join(dir, "disk.raw"), disk(1024))
	put(t, filepath.Join(dir, "empty.qcow2"), nil)
	require.NoError(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	require.NoError(t, os.Symlink("nowhere", filepath.Join(dir, "dangling")))
	require.NoError(t, os.Symlink("loop", filepath.Join(dir, "loop")))
	// A socket's path may not be longer than 108 bytes.
	sockets, err := os.MkdirTemp("", "")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(sockets) })
	l, err := net.Listen("unix", filepath.Join(sockets, "s"))
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	require.NoError(t, os.Symlink(filepath.Join(sockets, "s"), filepath.Join(dir, "socket")))

	for name, c := range map[string]struct {
		kind          fault.Kind
		message, hint string
	}{
		"disk.qcow":     {fault.NotFound, "there is no image", "disk.qcow2"},
		"zzzzzzzzzzzzz": {fault.NotFound, "there is no image", "project"},
		"dangling":      {fault.NotFound, "there is no image", ""},
		"loop":          {fault.Build, "could not be opened", ""},
		"fifo":          {fault.Build, "is a named pipe", "qcow2"},
		"socket":        {fault.Build, "is a socket", "qcow2"},
		".":             {fault.Build, "is a directory", "images/NAME"},
		"empty.qcow2":   {fault.Build, "is empty", "again"},
		"disk.bin":      {fault.Build, "looks like a raw disk", "qemu-img convert -f raw -O qcow2"},
	} {
		_, err := Open(t.Context(), filepath.Join(dir, name), Options{})
		require.Error(t, err, name)
		assert.Equal(t, c.kind, fault.KindOf(err), name)
		assert.Contains(t, err.Error(), c.message, name)
		assert.Contains(t, fault.HintOf(err), c.hint, name)
	}
	_, err = Open(t.Context(), "/dev/zero", Options{})
	require.ErrorContains(t, err, "is a device")
	img, err := Open(t.Context(), filepath.Join(dir, "disk.raw"), Options{})
	require.NoError(t, err)
	assert.Equal(t, Raw, img.Format)

	err = subjectOf("a\x1b[31m.qcow2").unopened("/a\x1b[31m.qcow2", os.ErrPermission)
	assert.Equal(t, "image a.qcow2 may not be read by you: permission denied", err.Error())
	assert.Equal(t, fault.Build, fault.KindOf(err))
}

func TestOpenIsCancelled(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "disk.qcow2")
	put(t, path, sound())
	ctx, cancel := context.WithCancel(t.Context())
	var failed bool
	_, err := Open(ctx, path, Options{Progress: progress.Func(func(e progress.Event) {
		cancel()
		failed = failed || e.Status == progress.Failed
	})})
	require.ErrorIs(t, err, context.Canceled)
	assert.True(t, failed)
}

func TestChangeDuringReadingIsSeen(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*os.File) error{
		"shorter": func(f *os.File) error { return f.Truncate(10) },
		"longer":  func(f *os.File) error { return f.Truncate(1 << 20) },
	} {
		path := filepath.Join(t.TempDir(), "disk.qcow2")
		put(t, path, sound())
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		require.NoError(t, err)
		_, err = Open(t.Context(), path, Options{Progress: progress.Func(func(progress.Event) { assert.NoError(t, change(f)) })})
		require.ErrorContains(t, err, "while it was being read", name)
		f.Close()
	}
}

func TestDigestIsRemembered(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, cache := filepath.Join(dir, "disk.qcow2"), filepath.Join(dir, "cache")
	put(t, path, sound())
	info, err := os.Stat(path)
	require.NoError(t, err)
	st, ok := stampOf(path, info)
	require.True(t, ok)
	assert.Empty(t, recall(cache, st))
	assert.Empty(t, recall("", st))

	sum := strings.Repeat("ab", 32)
	remember(cache, remembered{st, sum})
	assert.Equal(t, sum, recall(cache, st))
	img, err := Open(t.Context(), path, Options{Cache: cache, Progress: progress.Func(func(progress.Event) { t.Error("it was read") })})
	require.NoError(t, err)
	assert.Equal(t, "sha256-"+sum, img.ID)

	for name, other := range map[string]stamp{
		"another file":    {Path: path, Dev: st.Dev, Inode: st.Inode + 1, Size: st.Size, MTime: st.MTime, CTime: st.CTime},
		"another size":    {Path: path, Dev: st.Dev, Inode: st.Inode, Size: st.Size + 1, MTime: st.MTime, CTime: st.CTime},
		"another time":    {Path: path, Dev: st.Dev, Inode: st.Inode, Size: st.Size, MTime: st.MTime, CTime: st.CTime + 1},
		"another content": {Path: path, Dev: st.Dev, Inode: st.Inode, Size: st.Size, MTime: st.MTime + 1, CTime: st.CTime},
	} {
		assert.Empty(t, recall(cache, other), name)
	}

	for _, bad := range []string{"", "{", `{"sha256":"../../x"}`, strings.Repeat("[", 1<<17)} {
		put(t, entry(cache, path), []byte(bad))
		assert.Empty(t, recall(cache, st))
	}
	remember(cache, remembered{st, "../../etc"})
	assert.Empty(t, recall(cache, st), "not a digest")
	remember(cache, remembered{st, sum})
	require.NoError(t, os.Chmod(entry(cache, path), 0o666))
	assert.Empty(t, recall(cache, st), "anybody could have written it")

	// A link where the entry should be is not followed, and is replaced, not written through.
	victim := filepath.Join(dir, "victim")
	put(t, victim, []byte("mine"))
	require.NoError(t, os.Remove(entry(cache, path)))
	require.NoError(t, os.Symlink(victim, entry(cache, path)))
	assert.Empty(t, recall(cache, st))
	remember(cache, remembered{st, sum})
	assert.Equal(t, sum, recall(cache, st))
	content, err := os.ReadFile(victim)
	require.NoError(t, err)
	assert.Equal(t, "mine", string(content))

	// A cache that cannot be made is no reason to fail.
	blocked := filepath.Join(dir, "blocked")
	put(t, blocked, nil)
	_, err = Open(t.Context(), path, Options{Cache: blocked})
	require.NoError(t, err)
}

const storeName = "0c5z8n1r2qk3v4w9x7y6d5f4g3h2j1k0"

func TestFromStore(t *testing.T) {
	t.Parallel()
	// Not t.TempDir(), nor TMPDIR, whose directories may be private.
	store, err := os.MkdirTemp("/tmp", "store")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(store) })
	require.NoError(t, os.Chmod(store, 0o755))
	out := filepath.Join(store, storeName[:31]+"0-nixos-disk-image")
	require.NoError(t, os.MkdirAll(filepath.Join(out, "sub"), 0o755))
	path := filepath.Join(out, "nixos.qcow2")
	put(t, path, sound())
	require.NoError(t, os.Chmod(path, 0o444))
	put(t, filepath.Join(out, "sub", "nixos.qcow2"), sound())

	img, err := FromStore(t.Context(), path, out, "images/example", false)
	require.NoError(t, err)
	assert.Equal(t, "nix-"+storeName[:31]+"0", img.ID)
	assert.True(t, img.InPlace)
	assert.Equal(t, "images/example", img.Source)

	other, err := FromStore(t.Context(), filepath.Join(out, "sub", "nixos.qcow2"), out, "images/example", false)
	require.NoError(t, err)
	assert.NotEqual(t, img.ID, other.ID)
	assert.Less(t, len(other.ID), 100)
	assert.False(t, other.InPlace, "0600")
	session, err := FromStore(t.Context(), filepath.Join(out, "sub", "nixos.qcow2"), out, "", true)
	require.NoError(t, err)
	assert.True(t, session.InPlace)

	require.NoError(t, os.Chmod(store, 0o700))
	img, err = FromStore(t.Context(), path, out, "images/example", false)
	require.NoError(t, err)
	assert.False(t, img.InPlace, "QEMU's user could not get there")

	alone := filepath.Join(store, storeName[:31]+"1-disk.img")
	put(t, alone, disk(4096))
	img, err = FromStore(t.Context(), alone, alone, "x", true)
	require.NoError(t, err)
	assert.Equal(t, "nix-"+storeName[:31]+"1", img.ID)
	assert.Equal(t, Raw, img.Format)

	// As the builder finds it: an output may link to an image in another store path.
	linked := filepath.Join(store, storeName[:31]+"2-image", "nixos.qcow2")
	require.NoError(t, os.Mkdir(filepath.Dir(linked), 0o755))
	put(t, linked, sound())
	require.NoError(t, os.Symlink(linked, filepath.Join(out, "linked.qcow2")))
	for _, path := range []string{linked, filepath.Join(out, "linked.qcow2")} {
		img, err = FromStore(t.Context(), path, out, "x", true)
		require.NoError(t, err)
		assert.Equal(t, "nix-"+storeName[:31]+"2", img.ID)
		assert.Equal(t, linked, img.Path)
	}

	outside := filepath.Join(t.TempDir(), "x.qcow2")
	put(t, outside, sound())
	require.NoError(t, os.Symlink(outside, filepath.Join(out, "link.qcow2")))
	_, err = FromStore(t.Context(), filepath.Join(out, "link.qcow2"), out, "x", true)
	require.ErrorContains(t, err, "outside the nix store")
	_, err = FromStore(t.Context(), outside, out, "x", true)
	require.ErrorContains(t, err, "does not lie in")
	_, err = FromStore(t.Context(), filepath.Join(out, "absent.qcow2"), out, "x", true)
	require.True(t, fault.Is(err, fault.NotFound))
	for _, bad := range []string{"/nix/store/short-x", "/nix/store/" + strings.Repeat("e", 32) + "-x", "relative", "/"} {
		_, err = FromStore(t.Context(), bad+"/x", bad, "x", true)
		require.ErrorContains(t, err, "not a path of a nix store", bad)
	}
}
