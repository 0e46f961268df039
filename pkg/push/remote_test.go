package push

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
)

// here is this machine as a host: a shell in place of ssh and its shell. cache is where the
// program is put.
func here(t *testing.T, argv ...string) (r *Remote, cache string) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", dir)
	if argv == nil {
		argv = []string{"env"}
	}
	return &Remote{SSH: argv, Host: "server", Log: slog.New(slog.DiscardHandler)}, filepath.Join(dir, "vmctl/host")
}

// pushed pushes an image to a new volume, and says whether something was begun.
func pushed(t *testing.T, r *Remote, image []byte) (dir string, begun bool, err error) {
	t.Helper()
	dir = host(t)
	way := r.Prepare(t.Context(), dir)
	defer way.End()
	err = way.Push(t.Context(), engine.Push{
		Volume: volume, Image: fileOf(t, image), Size: int64(len(image)),
		Begin: func() error { begun = true; return nil },
	})
	return dir, begun, err
}

func TestTheHostGetsTheProgramOnce(t *testing.T) {
	r, cache := here(t)
	_, image := rebuilt()
	// A host may give its users a umask that keeps nothing from anybody.
	was := syscall.Umask(0)
	dir, _, err := pushed(t, r, image)
	syscall.Umask(was)
	require.NoError(t, err)
	same(t, dir, image)
	at, err := os.Stat(cache)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o700), at.Mode().Perm(), "nobody else may exchange what is run from there")

	own, err := openProgram("")
	require.NoError(t, err)
	defer own.close()
	file := filepath.Join(cache, own.sha256)
	first, err := os.Stat(file)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o700), first.Mode().Perm())
	_, _, err = pushed(t, r, image)
	require.NoError(t, err)
	second, err := os.Stat(file)
	require.NoError(t, err)
	assert.True(t, os.SameFile(first, second), "it is there already")

	// One that is not what its name says is not run.
	require.NoError(t, os.WriteFile(file, []byte("#!/bin/sh\ntouch "+cache+"/ran\n"), 0o700))
	dir, _, err = pushed(t, r, image)
	require.NoError(t, err)
	same(t, dir, image)
	left, err := os.ReadDir(cache)
	require.NoError(t, err)
	require.Len(t, left, 1)
	assert.Equal(t, own.sha256, left[0].Name())
}

// TestHostsWithoutThatWay: nothing is begun there, and the reason is told.
func TestHostsWithoutThatWay(t *testing.T) {
	odd := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(odd, "uname"), []byte("#!/bin/sh\necho Plan9\n"), 0o755))
	bare := t.TempDir()
	for _, tool := range []string{"sh", "uname"} {
		path, err := exec.LookPath(tool)
		require.NoError(t, err)
		require.NoError(t, os.Symlink(path, filepath.Join(bare, tool)))
	}
	for name, tt := range map[string]struct {
		argv []string
		want string
	}{
		"no shell":                  {[]string{"sh", "-c", "echo This account is currently not available.; exit 1", "--"}, "did not answer"},
		"ssh fails":                 {[]string{"sh", "-c", "echo >&2 'Permission denied (publickey).'; exit 255", "--"}, "Permission denied (publickey)."},
		"no ssh":                    {[]string{"vmctl-no-such-program"}, "did not answer"},
		"another machine":           {[]string{"env", "PATH=" + odd + ":" + os.Getenv("PATH")}, "the host is Plan9 Plan9, and this vmctl is for Linux"},
		"no tools":                  {[]string{"env", "PATH=" + bare}, "the host has no sha256sum"},
		"a shell that talks":        {[]string{"sh", "-c", "yes Welcome", "--"}, "says other things"},
		"a shell that ends":         {[]string{"true"}, "did not answer"},
		"one that pretends":         {[]string{"sh", "-c", "echo vmctl-host: ready; echo hhhhhhhhhhhhhhhhhhhh", "--"}, "too long"},
		"one of another protocol":   {[]string{"sh", "-c", `echo vmctl-host: ready; printf 'h\0\0\0\016{"protocol":9}'`, "--"}, "another protocol"},
		"one with hostile messages": {[]string{"sh", "-c", `printf 'vmctl-host: \033]0;title\007no\n'`, "--"}, "no"},
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := here(t, tt.argv...)
			_, begun, err := pushed(t, r, []byte("an image"))
			require.ErrorIs(t, err, engine.ErrOtherWay)
			assert.False(t, begun)
			assert.ErrorContains(t, err, tt.want)
			assert.NotContains(t, err.Error(), "\x1b")
		})
	}
}

func TestAProgramThatDoesNotArriveWholeIsNotRun(t *testing.T) {
	r, cache := here(t)
	s, out, err := r.run(t.Context())
	require.NoError(t, err)
	defer s.end()
	own := &program{file: fileOf(t, []byte("#!/bin/sh\necho vmctl-host: ready\n")), sha256: "0123"}
	require.ErrorContains(t, own.install(s.in, out, func() {}, func() {}), "did not arrive whole")
	s.end()
	left, err := os.ReadDir(cache)
	require.NoError(t, err)
	assert.Empty(t, left)
}

func TestAnInterruptedPushEnds(t *testing.T) {
	r, _ := here(t)
	_, image := rebuilt()
	ctx, cancel := context.WithCancel(t.Context())
	way := r.Prepare(ctx, host(t))
	defer way.End()
	err := way.Push(ctx, engine.Push{
		Volume: volume, Image: fileOf(t, image), Size: int64(len(image)),
		Begin:  func() error { return nil },
		Report: func(int64) { cancel() },
	})
	assert.Equal(t, fault.Interrupted, fault.KindOf(err), "%v", err)
}

// What the host says in the end decides what comes next.
func TestWhatAFailureMeans(t *testing.T) {
	r, _ := here(t)
	dir := host(t)
	require.NoError(t, os.WriteFile(filepath.Join(dir, volume+committed), nil, 0o600))
	way := r.Prepare(t.Context(), dir)
	err := way.Push(t.Context(), engine.Push{Volume: volume, Image: fileOf(t, []byte("x")), Size: 1, Begin: func() error { return nil }})
	require.ErrorIs(t, err, engine.ErrOtherWay)
	require.ErrorContains(t, err, "is an image already")

	short := fileOf(t, []byte("x"))
	way = r.Prepare(t.Context(), host(t))
	err = way.Push(t.Context(), engine.Push{Volume: volume, Image: short, Size: 100, Begin: func() error { return nil }})
	assert.Equal(t, fault.Build, fault.KindOf(err), "%v", err)
	assert.ErrorContains(t, err, "the image cannot be read")

	// A digest that somebody knew of another file.
	err = way.Push(t.Context(), engine.Push{Volume: volume, Image: fileOf(t, []byte("x")), Size: 1, SHA256: "00"})
	require.ErrorIs(t, err, engine.ErrOtherWay)
	require.ErrorContains(t, err, "has digest")

	for text, kind := range map[reason]fault.Kind{noSpace: fault.Refused, broken: fault.Other} {
		err := r.explain(t.Context(), nil, failure{text, "the disk\x1b[31m"})
		assert.Equal(t, kind, fault.KindOf(err))
		assert.NotContains(t, err.Error(), "\x1b")
		assert.Equal(t, text == noSpace, fault.HintOf(err) != "")
	}
	assert.True(t, bytes.Contains([]byte(script), []byte("\nvmctl_host\n")), "the last line starts it")
}
