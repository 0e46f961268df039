package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/image/fetch"
	"vmctl/pkg/progress"
	"vmctl/pkg/spec"
)

// web is an https server with files, which notes who was asked for what.
type web struct {
	*httptest.Server
	mu    sync.Mutex
	files map[string][]byte
	asked []string
}

func serve(t testing.TB) *web {
	t.Helper()
	w := &web{files: map[string][]byte{}}
	w.Server = httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		data, ok := w.files[r.URL.Path]
		w.asked = append(w.asked, strings.TrimPrefix(r.URL.Path, "/"))
		w.mu.Unlock()
		if !ok {
			http.NotFound(rw, r)
			return
		}
		http.ServeContent(rw, r, "", time.Time{}, bytes.NewReader(data))
	}))
	t.Cleanup(w.Close)
	return w
}

func (w *web) put(name string, data []byte) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.files["/"+name] = data
	return w.URL + "/" + name
}

// requests are the files asked for since the last time.
func (w *web) requests() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	asked := w.asked
	w.asked = nil
	return asked
}

func (w *web) client() *fetch.Client {
	pool := x509.NewCertPool()
	pool.AddCert(w.Certificate())
	return &fetch.Client{Roots: pool, Pause: time.Millisecond}
}

func hexOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// events collects progress.
type events struct {
	mu  sync.Mutex
	all []progress.Event
}

func (e *events) Emit(event progress.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, event)
}

// done are the tasks that ended well, in order, and the notes.
func (e *events) done() (texts []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, event := range e.all {
		if event.Status == progress.Done || event.Status == progress.Note {
			texts = append(texts, event.Text)
		}
	}
	e.all = nil
	return texts
}

func TestObtainFromTheWeb(t *testing.T) {
	t.Parallel()
	w, heard := serve(t), &events{}
	data := sound()
	address := w.put("images/disk.qcow2", data) + "?key=secret"
	opts := Options{Cache: t.TempDir(), Client: w.client(), Progress: heard, Task: "web/image"}
	get := func(image spec.Image) (engine.Image, error) { return Obtain(t.Context(), image, "", opts) }

	image := spec.Image{Kind: spec.ImageURL, Ref: address, SHA256: hexOf(data)}
	got, err := get(image)
	require.NoError(t, err)
	assert.Equal(t, engine.Image{
		ID: "sha256-" + hexOf(data), Source: w.URL + "/images/disk.qcow2", Path: filepath.Join(opts.Cache, "images", "sha256-"+hexOf(data)),
		SHA256: hexOf(data), Format: Qcow2, Size: 10 * spec.MiB, FileSize: spec.Size(len(data)),
	}, got)
	assert.Equal(t, []string{"download disk.qcow2"}, heard.done())
	assert.Equal(t, []string{"images/disk.qcow2"}, w.requests())

	again, err := get(image)
	require.NoError(t, err)
	assert.Equal(t, got, again)
	assert.Empty(t, heard.done(), "nothing was done")
	assert.Empty(t, w.requests(), "nobody was asked")

	// The same file under another name is downloaded by nobody.
	_, err = get(spec.Image{Kind: spec.ImageURL, Ref: w.URL + "/elsewhere.qcow2", SHA256: hexOf(data)})
	require.NoError(t, err)
	assert.Empty(t, w.requests())

	_, err = get(spec.Image{Kind: spec.ImageURL, Ref: address, SHA256: hexOf(nil)})
	require.ErrorContains(t, err, "is not what it was said to be")
	_, err = Obtain(t.Context(), image, "", Options{})
	require.ErrorContains(t, err, "no directory to keep it in")
}

func TestObtainByChecksums(t *testing.T) {
	t.Parallel()
	w, heard := serve(t), &events{}
	old, young := sound(), with(24, 20<<20, 8)(sound())
	image := spec.Image{Kind: spec.ImageURL, Ref: w.put("disk.img", old), Checksums: w.put("SHA256SUMS", []byte(hexOf(old)+" *disk.img\n"))}
	opts := Options{Cache: t.TempDir(), Client: w.client(), Progress: heard}
	get := func(refresh bool) engine.Image {
		t.Helper()
		o := opts
		o.Refresh = refresh
		got, err := Obtain(t.Context(), image, "", o)
		require.NoError(t, err)
		return got
	}
	first := get(false)
	assert.Equal(t, "sha256-"+hexOf(old), first.ID)
	assert.Equal(t, []string{"SHA256SUMS", "disk.img"}, w.requests())

	// The publisher makes a new one: the machine's image does not change by itself.
	w.put("disk.img", young)
	w.put("SHA256SUMS", []byte(hexOf(young)+" *disk.img\n"))
	assert.Equal(t, first, get(false))
	assert.Empty(t, w.requests(), "nobody was asked")
	second := get(true)
	assert.Equal(t, "sha256-"+hexOf(young), second.ID)
	assert.Equal(t, []string{"SHA256SUMS", "disk.img"}, w.requests())
	assert.Equal(t, second, get(false))
	heard.done()

	// Offline the known one is used, and that is said.
	w.CloseClientConnections()
	w.mu.Lock()
	delete(w.files, "/SHA256SUMS")
	w.mu.Unlock()
	assert.Equal(t, second, get(true))
	assert.Contains(t, strings.Join(heard.done(), "\n"), "the image that was known before is used: "+w.URL+"/SHA256SUMS is not there")

	// A cache that lost the file asks what to download now.
	w.put("SHA256SUMS", []byte(hexOf(old)+" *disk.img\n"))
	w.put("disk.img", old)
	require.NoError(t, os.Remove(second.Path))
	require.NoError(t, os.Remove(first.Path))
	assert.Equal(t, first.ID, get(false).ID)
}

func TestObtainByChecksumsRefuses(t *testing.T) {
	t.Parallel()
	w := serve(t)
	image := spec.Image{Kind: spec.ImageURL, Ref: w.put("disk.img", sound()), Checksums: w.URL + "/SHA256SUMS"}
	opts := Options{Cache: t.TempDir(), Client: w.client()}
	for text, want := range map[string]string{
		hexOf(nil) + "  disk.img\n":           "disk.img is not what it was said to be",
		hexOf(nil) + "  other.img\n":          "SHA256SUMS does not say what the image must be: the file of checksums says nothing of disk.img",
		"<html>":                              "has no checksums in it",
		strings.Repeat("x", 2<<20):            "larger than it can be",
		strings.Repeat("0", 32) + " disk.img": "only MD5 or SHA-1",
	} {
		w.put("SHA256SUMS", []byte(text))
		_, err := Obtain(t.Context(), image, "", opts)
		require.ErrorContains(t, err, want)
		assert.Equal(t, fault.Build, fault.KindOf(err))
		assert.NotEmpty(t, fault.HintOf(err), want)
	}
}

func TestObtainKnown(t *testing.T) {
	t.Parallel()
	_, err := Obtain(t.Context(), spec.Image{Kind: spec.ImageKnown, Ref: "debian:1"}, "", Options{Cache: t.TempDir()})
	require.ErrorContains(t, err, "there is no known image debian:1")
	_, err = Obtain(t.Context(), spec.Image{Kind: spec.ImageKnown, Ref: "debian:12"}, "", Options{Cache: t.TempDir(), Arch: "s390x"})
	require.ErrorContains(t, err, "debian:12 has no image for s390x")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Obtain(ctx, spec.Image{Kind: spec.ImageKnown, Ref: "debian:12"}, "", Options{Cache: t.TempDir()})
	require.ErrorIs(t, err, context.Canceled)
}

// packers pack as publishers do.
func packers(t *testing.T) map[string]func([]byte) []byte {
	t.Helper()
	tool := func(args ...string) func([]byte) []byte {
		return func(data []byte) []byte {
			path := filepath.Join(t.TempDir(), "x")
			put(t, path, data)
			return run(t, "", args[0], append(args[1:], path)...)
		}
	}
	return map[string]func([]byte) []byte{
		".gz": func(data []byte) []byte {
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			_, err := z.Write(data)
			require.NoError(t, errors.Join(err, z.Close()))
			return b.Bytes()
		},
		".zst": packZstd,
		".xz":  tool("xz", "-c"),
		".bz2": tool("bzip2", "-c"),
	}
}

func packZstd(data []byte) []byte {
	z, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	return z.EncodeAll(data, nil)
}

// partly is a raw disk with holes, and with something at odd places.
func partly() []byte {
	b := disk(3<<20 + 512)
	copy(b[5000:], "something")
	copy(b[2<<20-3:], "over the edge of a block")
	copy(b[len(b)-4:], "tail")
	return b
}

func TestObtainPacked(t *testing.T) {
	t.Parallel()
	heard, cache := &events{}, t.TempDir()
	opts := Options{Cache: cache, Progress: heard}
	dir := t.TempDir()
	for suffix, pack := range packers(t) {
		for name, data := range map[string][]byte{"disk.raw": partly(), "disk.img": sound(), "disk.qcow2": with(24, 11<<20, 8)(sound())} {
			path := filepath.Join(dir, name+suffix)
			packed := pack(data)
			put(t, path, packed)
			got, err := Obtain(t.Context(), spec.Image{Kind: spec.ImageFile, Ref: "./" + name + suffix, SHA256: hexOf(packed)}, path, opts)
			require.NoError(t, err, path)
			assert.Equal(t, "sha256-"+hexOf(data), got.ID, "the same whatever it was packed with")
			assert.Equal(t, "./"+name+suffix, got.Source)
			content, err := os.ReadFile(got.Path)
			require.NoError(t, err)
			assert.True(t, bytes.Equal(data, content))
			assert.Contains(t, heard.done(), "unpack "+filepath.Base(path))

			again, err := Obtain(t.Context(), spec.Image{Kind: spec.ImageFile, Ref: "./" + name + suffix}, path, opts)
			require.NoError(t, err)
			assert.Equal(t, got, again)
			assert.NotContains(t, heard.done(), "unpack "+filepath.Base(path))
		}
	}
	assert.Empty(t, leftovers(t, cache), "nothing unfinished stays")
}

// leftovers are files in a cache that are no entries.
func leftovers(t *testing.T, cache string) (left []string) {
	t.Helper()
	for _, pattern := range []string{"*.part", "*.part.json", "*.lock", "copied-*"} {
		found, err := filepath.Glob(filepath.Join(cache, "images", pattern))
		require.NoError(t, err)
		for _, path := range found {
			if !strings.HasPrefix(filepath.Base(path), "checksum-") {
				left = append(left, path)
			}
		}
	}
	return left
}

func TestUnpackingLeavesHoles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "disk.raw.zst")
	data := disk(64 << 20)
	put(t, path, packZstd(data))
	got, err := Obtain(t.Context(), spec.Image{Kind: spec.ImageFile, Ref: path}, path, Options{Cache: dir})
	require.NoError(t, err)
	assert.Equal(t, spec.Size(64<<20), got.Size)
	taken := strings.Fields(string(run(t, "", "du", "-k", got.Path)))[0]
	assert.Less(t, len(taken), 3, "%s KiB", taken)
}

// foreignDisk makes a disk with content of a format, as other programs do.
func foreignDisk(t testing.TB, format, options string) (path string, content string) {
	t.Helper()
	dir := t.TempDir()
	content = filepath.Join(dir, "content.raw")
	data := disk(8 << 20)
	for i := range 2 << 20 {
		data[1<<20+i] = byte(i * 7 >> 3)
	}
	put(t, content, data)
	suffix := format
	if suffix == "vpc" {
		suffix = "vhd"
	}
	path = filepath.Join(dir, "disk."+suffix)
	args := []string{"convert", "-f", "raw", "-O", format}
	if options != "" {
		args = append(args, "-o", options)
	}
	run(t, "", "qemu-img", append(args, content, path)...)
	return path, content
}

func TestObtainConverted(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ format, options string }{
		"vmdk":          {"vmdk", ""},
		"streamed vmdk": {"vmdk", "subformat=streamOptimized"},
		"vdi":           {"vdi", ""},
		"fixed vdi":     {"vdi", "static=on"},
		"vhdx":          {"vhdx", ""},
		"fixed vhdx":    {"vhdx", "subformat=fixed"},
		"vhd":           {"vpc", "force_size=on"},
		"fixed vhd":     {"vpc", "subformat=fixed,force_size=on"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path, content := foreignDisk(t, c.format, c.options)
			heard, opts := &events{}, Options{Cache: t.TempDir()}
			opts.Progress = heard
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			got, err := Obtain(t.Context(), spec.Image{Kind: spec.ImageFile, Ref: path}, path, opts)
			require.NoError(t, err)
			assert.Equal(t, "sha256-"+hexOf(data)+"-"+c.format, got.ID, "named by what was converted")
			assert.Equal(t, Qcow2, got.Format)
			assert.Equal(t, spec.Size(8<<20), got.Size)
			assert.Contains(t, heard.done(), "convert "+filepath.Base(path))
			run(t, "", "qemu-img", "compare", "-f", "raw", "-F", "qcow2", content, got.Path)
			assert.Empty(t, leftovers(t, opts.Cache))

			again, err := Obtain(t.Context(), spec.Image{Kind: spec.ImageFile, Ref: path}, path, opts)
			require.NoError(t, err)
			assert.Equal(t, got, again)
			assert.NotContains(t, heard.done(), "convert "+filepath.Base(path))
			assert.Empty(t, leftovers(t, opts.Cache))

			// What is not as it was made is made again.
			require.NoError(t, os.Chmod(got.Path, 0o600))
			put(t, got.Path, []byte("spoilt"))
			again, err = Obtain(t.Context(), spec.Image{Kind: spec.ImageFile, Ref: path}, path, opts)
			require.NoError(t, err)
			assert.Equal(t, got.ID, again.ID)
			run(t, "", "qemu-img", "compare", "-f", "raw", "-F", "qcow2", content, got.Path)
		})
	}
}

func TestObtainPackedForeignFromTheWeb(t *testing.T) {
	t.Parallel()
	path, content := foreignDisk(t, "vmdk", "subformat=streamOptimized")
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	w := serve(t)
	packed := packZstd(data)
	got, err := Obtain(t.Context(), spec.Image{Kind: spec.ImageURL, Ref: w.put("disk.vmdk.zst", packed), SHA256: hexOf(packed)}, "",
		Options{Cache: t.TempDir(), Client: w.client()})
	require.NoError(t, err)
	run(t, "", "qemu-img", "compare", "-f", "raw", "-F", "qcow2", content, got.Path)
}

func TestObtainOnceForMany(t *testing.T) {
	t.Parallel()
	path, _ := foreignDisk(t, "vdi", "")
	heard, cache := &events{}, t.TempDir()
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			_, err := Obtain(t.Context(), spec.Image{Kind: spec.ImageFile, Ref: path}, path, Options{Cache: cache, Progress: heard})
			assert.NoError(t, err)
		})
	}
	all.Wait()
	converted := 0
	for _, text := range heard.done() {
		if strings.HasPrefix(text, "convert ") {
			converted++
		}
	}
	assert.Equal(t, 1, converted)
}

func TestObtainIsInterrupted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "disk.raw.zst")
	put(t, path, packZstd(partly()))
	foreign, _ := foreignDisk(t, "vmdk", "")
	for _, file := range []string{path, foreign} {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := Obtain(ctx, spec.Image{Kind: spec.ImageFile, Ref: file}, file, Options{Cache: dir, Progress: progress.Func(func(e progress.Event) {
			if strings.HasPrefix(e.Text, "unpack ") || strings.HasPrefix(e.Text, "convert ") {
				cancel()
			}
		})})
		require.ErrorIs(t, err, context.Canceled)
		cancel()
	}
	left := leftovers(t, dir)
	for _, path := range left {
		assert.Contains(t, path, "copied-", "a copy may stay for the next run")
	}
}

func TestObtainWithoutTheTools(t *testing.T) {
	foreign, _ := foreignDisk(t, "vmdk", "")
	packed := filepath.Join(t.TempDir(), "disk.raw.xz")
	put(t, packed, run(t, "", "xz", "-c", foreign))
	t.Setenv("PATH", t.TempDir())
	_, err := Obtain(t.Context(), spec.Image{Kind: spec.ImageFile, Ref: foreign}, foreign, Options{Cache: t.TempDir()})
	require.ErrorContains(t, err, "qemu-img is not installed")
	assert.Contains(t, fault.HintOf(err), "qemu-utils")
	_, err = Obtain(t.Context(), spec.Image{Kind: spec.ImageFile, Ref: packed}, packed, Options{Cache: t.TempDir()})
	require.ErrorContains(t, err, "xz is not installed")
}

// What strangers made is read under limits: the program is told them, whatever it does.
func TestConversionsAreLimited(t *testing.T) {
	foreign, _ := foreignDisk(t, "vmdk", "")
	bin := t.TempDir()
	limits := filepath.Join(bin, "limits")
	// They hold from right after the start: that is waited for.
	put(t, filepath.Join(bin, "qemu-img"), []byte("#!/bin/sh\nn=0\nuntil grep -q 'Max address space  *[0-9]' /proc/self/limits || [ $n = 300 ]; do n=$((n + 1)); sleep 0.01; done\n"+
		"grep -E 'Max (address space|cpu time|file size)' /proc/self/limits >"+limits+"\nexit 1\n"))
	require.NoError(t, os.Chmod(filepath.Join(bin, "qemu-img"), 0o700))
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	is := Info{Format: Qcow2, VirtualSize: 8 << 20}
	for name, run := range map[string]func() error{
		"an image": func() error {
			_, err := Obtain(t.Context(), spec.Image{Kind: spec.ImageFile, Ref: foreign}, foreign, Options{Cache: t.TempDir()})
			return err
		},
		"a volume": func() error { return Rewrite(t.Context(), "from", is, "to", Raw, nil) },
	} {
		require.Error(t, run(), name)
		set, err := os.ReadFile(limits)
		require.NoError(t, err)
		assert.Regexp(t, `(?m)^Max cpu time +[0-9]+ `, string(set), name)
		assert.Regexp(t, `(?m)^Max file size +[0-9]+ `, string(set), name)
		assert.Regexp(t, `(?m)^Max address space +4294967296 `, string(set), name)
	}
}
