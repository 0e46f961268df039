package engine_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
	"vmctl/pkg/engine/enginetest"
	"vmctl/pkg/fault"
	"vmctl/pkg/progress"
	"vmctl/pkg/spec"
)

// largeSize is that of an image whose upload goes on after a cut. It is no whole number
// of blocks.
const largeSize = 17<<20 + 100

// large is a machine on a large image, and what is in it.
func large(t *testing.T) (engine.Wanted, []byte) {
	content := make([]byte, largeSize)
	random := rand.New(rand.NewPCG(1, 2))
	for at := 0; at < len(content); at += 1 << 16 {
		if at>>16%7 == 3 {
			continue // zeros
		}
		content[at], content[min(at+9000, len(content)-1)] = byte(random.IntN(255)+1), byte(random.IntN(255)+1)
	}
	w := inFile(t)
	w.Image.Path, w.Image.FileSize = filepath.Join(t.TempDir(), "large.qcow2"), largeSize
	require.NoError(t, os.WriteFile(w.Image.Path, content, 0o600))
	return w, content
}

// sink calls something with how far an upload of the image is.
func sink(during func(sent int64)) progress.Sink {
	return progress.Func(func(e progress.Event) {
		if e.Total == largeSize && e.Status == progress.Working {
			during(e.Current)
		}
	})
}

// uploaded is the one uploaded image on a host.
func uploaded(t *testing.T, h *enginetest.Host) []byte {
	t.Helper()
	var bases []string
	for _, name := range h.VolumeNames() {
		if strings.HasPrefix(name, "base-") {
			bases = append(bases, name)
		}
	}
	require.Len(t, bases, 2, "the image and its marker: %v", bases)
	require.Equal(t, bases[0]+".ok", bases[1])
	content, err := h.ReadRange(t.Context(), bases[0], 0, largeSize+1)
	require.NoError(t, err)
	return content
}

// cutAt begins an upload and cuts the connection when so much has been sent.
func cutAt(t *testing.T, h *enginetest.Host, w engine.Wanted, at int64) error {
	t.Helper()
	e := client(h, "ann")
	e.Sink = sink(func(sent int64) {
		if sent >= at {
			h.Cut()
		}
	})
	_, err := e.Up(t.Context(), w, engine.Options{})
	require.Error(t, err)
	h.Mend()
	return err
}

// sentBy are the bytes that a run sends of the image, and what it says.
func sentBy(t *testing.T, h *enginetest.Host, user string, w engine.Wanted) (bytes int64, notes string) {
	t.Helper()
	e, first := client(h, user), int64(-1)
	e.Sink = progress.Func(func(event progress.Event) {
		if event.Status == progress.Note {
			notes += event.Text + "\n"
		}
		if event.Total == largeSize && event.Current > 0 && first < 0 {
			first = event.Current
		}
	})
	_, err := e.Up(t.Context(), w, engine.Options{})
	require.NoError(t, err)
	return largeSize - first, notes
}

func TestAnUploadGoesOnWhereItWasCut(t *testing.T) {
	w, content := large(t)
	for _, at := range []int64{1, 3 << 20, 5 << 20, 14 << 20, largeSize} {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			h := enginetest.NewHost(enginetest.Options{Remote: true})
			err := cutAt(t, h, w, at)
			require.Equal(t, fault.Unreachable, fault.KindOf(err))
			_, noted := cutShort(t, h)
			require.Equal(t, at >= 5<<20, noted > 0, "%d", noted)
			require.Less(t, noted, at)
			if noted > 0 {
				assert.ErrorContains(t, err, fmt.Sprintf("%s of the 17.0MiB of image sha256-0123456789ab have arrived", spec.Size(noted)))
				assert.Equal(t, "run the same command again: it goes on from there", fault.HintOf(err))
			}
			plan, err := client(h, "ann").Plan(t.Context(), w, engine.Options{})
			require.NoError(t, err)
			assert.Contains(t, plan.String(), "goes on where it was cut short")
			again, notes := sentBy(t, h, "ann", w)
			assert.LessOrEqual(t, again, largeSize-noted)
			assert.Equal(t, noted > 0, strings.Contains(notes, fmt.Sprintf("goes on: %s of 17.0MiB are there", spec.Size(noted))), notes)
			assert.True(t, bytes.Equal(content, uploaded(t, h)))
		})
	}
}

// cutShort is the volume of an upload that was cut, and how much is noted as arrived.
func cutShort(t *testing.T, h *enginetest.Host) (base string, noted int64) {
	t.Helper()
	for _, v := range h.VolumeNames() {
		if name, ok := strings.CutSuffix(v, ".sent"); ok {
			note, err := h.ReadRange(t.Context(), v, 0, 512)
			require.NoError(t, err)
			_, err = fmt.Sscanf(string(note), `{"size":17825892,"sent":%d,`, &noted)
			require.NoError(t, err, string(note))
			return name, noted
		}
	}
	t.Fatal("no upload was cut short")
	return "", 0
}

// TestAnUploadDoesNotGoOn: what cannot be trusted is sent anew.
func TestAnUploadDoesNotGoOn(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(t *testing.T, h *enginetest.Host, w engine.Wanted, base string){
		"the image was built anew, and differs in what has arrived": func(t *testing.T, _ *enginetest.Host, w engine.Wanted, _ string) {
			change(t, w.Image.Path, 3<<20)
		},
		"it differs in what was on its way": func(t *testing.T, _ *enginetest.Host, w engine.Wanted, _ string) {
			change(t, w.Image.Path, 7<<20)
		},
		"the host lost what it had acknowledged": func(t *testing.T, h *enginetest.Host, _ engine.Wanted, base string) {
			h.PlantVolume(engine.Volume{Name: base}, make([]byte, largeSize))
		},
		"the host lost the end of it": func(t *testing.T, h *enginetest.Host, _ engine.Wanted, base string) {
			_, noted := cutShort(t, h)
			content, err := h.ReadRange(t.Context(), base, 0, int(noted)-1)
			require.NoError(t, err)
			h.PlantVolume(engine.Volume{Name: base}, content)
		},
		"the note says nonsense": func(t *testing.T, h *enginetest.Host, _ engine.Wanted, base string) {
			h.PlantVolume(engine.Volume{Name: base + ".sent"}, []byte(`{"size":-1,"sent":99999999999999}`))
		},
		"the note is lost": func(t *testing.T, h *enginetest.Host, _ engine.Wanted, base string) {
			require.NoError(t, h.DeleteVolume(t.Context(), base+".sent"))
		},
		"the volume is lost": func(t *testing.T, h *enginetest.Host, _ engine.Wanted, base string) {
			require.NoError(t, h.DeleteVolume(t.Context(), base))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, _ := large(t)
			h := enginetest.NewHost(enginetest.Options{Remote: true})
			_ = cutAt(t, h, w, 14<<20)
			base, noted := cutShort(t, h)
			require.NotZero(t, noted)
			spoil(t, h, w, base)
			again, _ := sentBy(t, h, "ann", w)
			assert.Greater(t, again, int64(largeSize-1<<20))
			want, err := os.ReadFile(w.Image.Path)
			require.NoError(t, err)
			assert.True(t, bytes.Equal(want, uploaded(t, h)))
		})
	}
}

func change(t *testing.T, file string, at int64) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte("made anew"), at)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// Another client neither goes on with an upload nor waits for it.
func TestAnUploadIsOneClients(t *testing.T) {
	w, _ := large(t)
	h := enginetest.NewHost(enginetest.Options{Remote: true})
	_ = cutAt(t, h, w, 14<<20)
	again, _ := sentBy(t, h, "bob", w)
	assert.Greater(t, again, int64(largeSize-1<<20))
	_, err := client(h, "ann").Down(t.Context(), "example", engine.DownOptions{Force: true})
	require.NoError(t, err)
	_, err = client(h, "bob").Down(t.Context(), "example", engine.DownOptions{Force: true})
	require.NoError(t, err)
	assert.Empty(t, h.VolumeNames())
}

func TestCtrlCKeepsWhatHasArrived(t *testing.T) {
	w, content := large(t)
	h := enginetest.NewHost(enginetest.Options{Remote: true})
	ctx, cancel := context.WithCancel(t.Context())
	e := client(h, "ann")
	e.Sink = sink(func(sent int64) {
		if sent > 10<<20 {
			cancel()
		}
	})
	_, err := e.Up(ctx, w, engine.Options{})
	require.Equal(t, fault.Interrupted, fault.KindOf(err))
	_, noted := cutShort(t, h)
	require.EqualError(t, err, fmt.Sprintf("interrupted: %s of the 17.0MiB of image sha256-0123456789ab have arrived, and the next vmctl up goes on from there", spec.Size(noted)))
	again, _ := sentBy(t, h, "ann", w)
	assert.LessOrEqual(t, again, largeSize-noted)
	assert.True(t, bytes.Equal(content, uploaded(t, h)))

	h = enginetest.NewHost(enginetest.Options{Remote: true})
	_ = cutAt(t, h, w, 14<<20)
	_, err = client(h, "ann").Down(t.Context(), "example", engine.DownOptions{})
	require.NoError(t, err)
	assert.Empty(t, h.VolumeNames(), "down removes it")
}

// A full disk is not kept full.
func TestAFailedUploadIsUndone(t *testing.T) {
	w, _ := large(t)
	h := enginetest.NewHost(enginetest.Options{Remote: true})
	h.Fail("Upload", 4, fault.New(fault.Refused, "no space left"))
	_, err := client(h, "ann").Up(t.Context(), w, engine.Options{})
	require.ErrorContains(t, err, "no space left")
	assert.Empty(t, h.VolumeNames())
}

func TestAnImageThatChangesMeanwhileIsNoImage(t *testing.T) {
	w, _ := large(t)
	h := enginetest.NewHost(enginetest.Options{Remote: true})
	e, once := client(h, "ann"), false
	e.Sink = sink(func(sent int64) {
		if sent > 10<<20 && !once {
			once = true
			change(t, w.Image.Path, 3)
		}
	})
	_, err := e.Up(t.Context(), w, engine.Options{})
	require.ErrorContains(t, err, "was written to while it was uploaded")
	assert.Empty(t, h.VolumeNames())
}

// Who may write where an image lies does not bring one to the host that nobody has judged.
func TestAnImageThatWasExchangedIsNotUploaded(t *testing.T) {
	for name, exchange := range map[string]func(path string){
		"another file": func(path string) {
			content, err := os.ReadFile(path)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(path+".new", content, 0o600))
			require.NoError(t, os.Rename(path+".new", path))
		},
		"a pipe": func(path string) {
			require.NoError(t, os.Remove(path))
			require.NoError(t, syscall.Mkfifo(path, 0o600))
		},
		"with the old time": func(path string) {
			info, err := os.Stat(path)
			require.NoError(t, err)
			change(t, path, 3)
			require.NoError(t, os.Chtimes(path, info.ModTime(), info.ModTime()))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, _ := large(t)
			judged, err := os.Stat(w.Image.Path)
			require.NoError(t, err)
			w.Image.Judged = judged
			exchange(w.Image.Path)
			h := enginetest.NewHost(enginetest.Options{Remote: true})
			_, err = client(h, "ann").Up(t.Context(), w, engine.Options{})
			require.ErrorContains(t, err, "is not the file any more that was looked at")
			assert.NotEmpty(t, fault.HintOf(err))
			assert.Empty(t, h.VolumeNames())
		})
	}
}

// TestKilledAnywhereALargeUploadHeals kills an up, and then the one that goes on with its
// upload, at every change.
func TestKilledAnywhereALargeUploadHeals(t *testing.T) {
	t.Parallel()
	w, content := large(t)
	cut := func() *enginetest.Host {
		h := enginetest.NewHost(enginetest.Options{Remote: true})
		_ = cutAt(t, h, w, 14<<20)
		return h
	}
	for n := 1; ; n++ {
		h := cut()
		died := killed(h, n, func() { _, _ = client(h, "ann").Up(t.Context(), w, engine.Options{}) })
		_, err := client(h, "ann").Up(t.Context(), w, engine.Options{})
		require.NoError(t, err, "point %d", n)
		for _, name := range h.VolumeNames() {
			require.NotContains(t, name, ".sent", "point %d", n)
		}
		_, err = client(h, "ann").Prune(t.Context(), false) // of a lease
		require.NoError(t, err)
		require.True(t, bytes.Equal(content, uploaded(t, h)), "point %d", n)
		_, err = client(h, "ann").Down(t.Context(), "example", engine.DownOptions{Force: true})
		require.NoError(t, err)
		require.Empty(t, h.VolumeNames(), "point %d", n)
		if !died {
			assert.Greater(t, n, 10)
			return
		}
	}
}
