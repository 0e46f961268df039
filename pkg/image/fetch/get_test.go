package fetch

import (
	"context"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"vmctl/pkg/fault"
	"vmctl/pkg/image/cache"
	"vmctl/pkg/image/checksum"
	"vmctl/pkg/progress"
)

const size = 3 << 20

func TestGet(t *testing.T) {
	t.Parallel()
	data := content(size)
	for name, c := range map[string]struct {
		answers []func(http.ResponseWriter, *http.Request, *server)
		asked   string
		etag    string
	}{
		"at once":           {nil, "-", `"v1"`},
		"without ranges":    {answers(whole), "-", ""},
		"without a length":  {answers(chunked), "-", ""},
		"broken once":       {answers(cut(1 << 20)), "- bytes=1048576-", `"v1"`},
		"broken thrice":     {answers(cut(1<<20), cut(1<<20), cut(1)), "- bytes=1048576- bytes=2097152- bytes=2097153-", `"v1"`},
		"broken, weak tag":  {answers(cut(1 << 20)), "- bytes=1048576-", `W/"v1"`},
		"broken, no tag":    {answers(cut(1 << 20)), "- bytes=1048576-", ""},
		"no ranges after":   {answers(cut(1<<20), whole), "- bytes=1048576-", `"v1"`},
		"broken at the end": {answers(cut(size)), "-", `"v1"`},
		"busy":              {answers(says(503), says(429), cut(100)), "- - - bytes=100-", `"v1"`},
		"another piece": {
			answers(cut(1<<20), headers(206, "Content-Range", "bytes 0-9/3145728")), "- bytes=1048576- -", `"v1"`,
		},
		"nonsense for a piece":  {answers(cut(1<<20), headers(206, "Content-Range", "pages 1-2")), "- bytes=1048576- -", `"v1"`},
		"no such piece":         {answers(cut(1<<20), headers(416, "Content-Range", "bytes */17")), "- bytes=1048576- -", `"v1"`},
		"a part unasked for":    {answers(headers(206, "Content-Range", "bytes 0-9/10")), "- -", `"v1"`},
		"many breaks with gain": {repeated(cut(200_000), 12), "", `"v1"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, data, c.answers...)
			s.etag = c.etag
			dir := cache.Dir(filepath.Join(t.TempDir(), "images"))
			e, err := s.client(nil).Get(t.Context(), dir, s.wanted(sha256Of(data)))
			require.NoError(t, err)
			if c.asked != "" {
				assert.Equal(t, c.asked, s.ranges())
			}
			assert.Equal(t, sha256Of(data).Hex, e.SHA256)
			assert.Equal(t, int64(size), e.Size)
			assert.NotContains(t, e.From, "secret")
			got, err := os.ReadFile(e.Path)
			require.NoError(t, err)
			assert.Equal(t, data, got)
			assert.Len(t, files(t, dir), 2, "the file, and what it is")

			again, err := (&Client{}).Get(t.Context(), dir, s.wanted(sha256Of(data)))
			require.NoError(t, err, "nobody is asked the second time")
			assert.Equal(t, e, again)
		})
	}
}

func answers(a ...func(http.ResponseWriter, *http.Request, *server)) []func(http.ResponseWriter, *http.Request, *server) {
	return a
}

func repeated(a func(http.ResponseWriter, *http.Request, *server), n int) (all []func(http.ResponseWriter, *http.Request, *server)) {
	for range n {
		all = append(all, a)
	}
	return all
}

func files(t *testing.T, dir cache.Dir) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(string(dir))
	require.NoError(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestGetBySHA512(t *testing.T) {
	t.Parallel()
	data := content(1000)
	s := serve(t, data)
	dir := cache.Dir(t.TempDir())
	e, err := s.client(nil).Get(t.Context(), dir, s.wanted(sha512Of(data)))
	require.NoError(t, err)
	assert.Equal(t, sha256Of(data).Hex, e.SHA256, "images are named by SHA-256")
	assert.Equal(t, dir.Path("sha512-"+sha512Of(data).Hex), e.Path)
}

func TestGetRefuses(t *testing.T) {
	t.Parallel()
	data := content(1000)
	other := sha256Of([]byte("other"))
	away := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(away.Close)
	for name, c := range map[string]struct {
		answers []func(http.ResponseWriter, *http.Request, *server)
		digest  checksum.Digest
		want    []string
		keeps   bool
	}{
		"another digest": {nil, other, []string{"disk.qcow2 is not what it was said to be", "wanted " + other.Hex, "got    " + sha256Of(data).Hex, "--refresh"}, false},
		"a web page": {
			answers(headers(200, "Content-Type", "text/html; charset=utf-8")), other, []string{"not what it was said", "a web page"}, false,
		},
		"not there":      {answers(says(404)), other, []string{"/images/disk.qcow2 is not there (404 from 127.0.0.1)", "look at what is there: https://127.0.0.1:"}, true},
		"forbidden":      {answers(says(403)), other, []string{"may not be downloaded by everybody"}, true},
		"odd":            {answers(says(418)), other, []string{"127.0.0.1 answers 418"}, true},
		"always broken":  {repeated(cut(100), 1), sha256Of(data), nil, false},
		"never further":  {repeated(cut(0), 9), other, []string{"broke the connection, 6 times in a row", "check the address"}, true},
		"stops for good": {append(answers(cut(500)), repeated(cut(0), 9)...), other, []string{"broke the connection", "goes on after the 500B that came"}, true},
		"always busy":    {repeated(says(500), 9), other, []string{"answers 500", "try again later"}, true},
		"to http":        {answers(headers(302, "Location", away.URL+"/x?key=secret")), other, []string{"leads to " + away.URL + "/x, which is not https"}, true},
		"in a circle":    {repeated(headers(302, "Location", "/again"), 30), other, []string{"redirected too often"}, true},
		"shorter than it says": {
			repeated(headers(200, "Content-Length", "2000"), 9), sha256Of(data), []string{"broke the connection"}, true,
		},
		"longer than it says": {answers(shorter), sha256Of(data), []string{"not what it was said"}, false},
		"only nonsense pieces": {
			append(answers(cut(10)), repeated(headers(206, "Content-Range", "bytes 5-9/10"), 9)...), other, []string{"another part of the file"}, true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, data, c.answers...)
			dir := cache.Dir(t.TempDir())
			_, err := s.client(nil).Get(t.Context(), dir, s.wanted(c.digest))
			if c.want == nil {
				require.NoError(t, err)
				return
			}
			require.Error(t, err)
			assert.Equal(t, fault.Build, fault.KindOf(err))
			text := explained(err)
			for _, want := range c.want {
				assert.Contains(t, text, want)
			}
			assert.NotContains(t, text, "secret", "a query may hold a key")
			_, found := dir.Find(c.digest.String())
			assert.False(t, found)
			if !c.keeps {
				assert.Empty(t, files(t, dir), "nothing of it stays")
			}
		})
	}
}

func explained(err error) string {
	text := err.Error() + "\n" + fault.HintOf(err)
	if f, ok := err.(*fault.Error); ok { //nolint:errorlint // as it was made
		text += "\n" + f.Details()
	}
	return text
}

// What a server says wrongly about its own file ends as a digest that differs, whatever
// was put together on the way; one honest answer heals it.
func TestPiecesOfTwoVersionsAreNotBelieved(t *testing.T) {
	t.Parallel()
	old, young := content(size), content(size + 8)[8:]
	s := serve(t, old, cut(1<<20), func(w http.ResponseWriter, r *http.Request, s *server) {
		// The file is replaced, and the server looks at no If-Range.
		s.mu.Lock()
		s.content = young
		s.mu.Unlock()
		r.Header.Del("If-Range")
		well(w, r, s)
	})
	dir := cache.Dir(t.TempDir())
	e, err := s.client(nil).Get(t.Context(), dir, s.wanted(sha256Of(young)))
	require.NoError(t, err)
	assert.Equal(t, sha256Of(young).Hex, e.SHA256)
	assert.Equal(t, "- bytes=1048576- -", s.ranges(), "it began anew")
}

func TestAReplacedFileIsNoticedByItsTag(t *testing.T) {
	t.Parallel()
	old, young := content(size), content(size + 8)[8:]
	s := serve(t, old, cut(1<<20), func(w http.ResponseWriter, r *http.Request, s *server) {
		s.mu.Lock()
		s.content, s.etag = young, `"v2"`
		s.mu.Unlock()
		well(w, r, s)
	})
	_, err := s.client(nil).Get(t.Context(), cache.Dir(t.TempDir()), s.wanted(sha256Of(young)))
	require.NoError(t, err)
	assert.Equal(t, "- bytes=1048576-", s.ranges(), "the second answer was the whole file")
}

func TestInterruptedDownloadGoesOn(t *testing.T) {
	t.Parallel()
	data := content(size)
	stop := make(chan struct{})
	s := serve(t, data, func(w http.ResponseWriter, r *http.Request, s *server) {
		w.Header().Set("ETag", s.etag)
		w.Header().Set("Content-Length", "3145728")
		_, _ = w.Write(data[:1<<20])
		w.(http.Flusher).Flush()
		close(stop)
		<-r.Context().Done()
	})
	dir := cache.Dir(t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-stop
		assert.Eventually(t, func() bool {
			info, err := os.Stat(dir.Part(sha256Of(data).String()))
			return err == nil && info.Size() == 1<<20
		}, time.Minute, time.Millisecond)
		cancel()
	}()
	var last progress.Event
	_, err := s.client(progress.Func(func(e progress.Event) { last = e })).Get(ctx, dir, s.wanted(sha256Of(data)))
	require.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, progress.Failed, last.Status)

	var events []progress.Event
	_, err = s.client(progress.Func(func(e progress.Event) { events = append(events, e) })).Get(t.Context(), dir, s.wanted(sha256Of(data)))
	require.NoError(t, err)
	assert.Equal(t, "- bytes=1048576-", s.ranges())
	done := events[len(events)-1]
	assert.Equal(t, progress.Event{
		ID: "web/download", Text: "download disk.qcow2", Status: progress.Done, Current: size, Total: size, Unit: progress.Bytes,
	}, done)
}

// A part that somebody changed, or that is of something else, costs time only.
func TestAPartIsNeverBelieved(t *testing.T) {
	t.Parallel()
	data := content(1000)
	for name, spoil := range map[string]func(t *testing.T, dir cache.Dir, key string){
		"other bytes": func(t *testing.T, dir cache.Dir, key string) { write(t, dir.Part(key), content(508)[8:]) },
		"too long":    func(t *testing.T, dir cache.Dir, key string) { write(t, dir.Part(key), content(5000)) },
		"as long":     func(t *testing.T, dir cache.Dir, key string) { write(t, dir.Part(key), content(1008)[8:]) },
		"another note": func(t *testing.T, dir cache.Dir, key string) {
			write(t, dir.Part(key), data[:300])
			write(t, dir.Part(key)+".json", []byte(`{"url":"https://elsewhere.example.org/x","validator":"\"v9\"","total":7}`))
		},
		"a torn note": func(t *testing.T, dir cache.Dir, key string) {
			write(t, dir.Part(key), data[:300])
			write(t, dir.Part(key)+".json", []byte(`{"url":`))
		},
		"an entry that changed": func(t *testing.T, dir cache.Dir, key string) { write(t, dir.Path(key), content(20)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, key := cache.Dir(t.TempDir()), sha256Of(data).String()
			spoil(t, dir, key)
			s := serve(t, data)
			e, err := s.client(nil).Get(t.Context(), dir, s.wanted(sha256Of(data)))
			require.NoError(t, err)
			got, err := os.ReadFile(e.Path)
			require.NoError(t, err)
			assert.Equal(t, data, got)
		})
	}
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, data, 0o600))
}

func TestACopiedCacheIsReadOnceMore(t *testing.T) {
	t.Parallel()
	data := content(1000)
	dir, key := cache.Dir(t.TempDir()), sha256Of(data).String()
	write(t, dir.Path(key), data)
	e, err := (&Client{}).Get(t.Context(), dir, Wanted{URL: "https://nowhere.invalid/x", Digest: sha256Of(data)})
	require.NoError(t, err)
	assert.Equal(t, sha256Of(data).Hex, e.SHA256)
	_, ok := dir.Find(key)
	assert.True(t, ok, "and then believed")
}

func TestLinksInTheWayAreNotFollowed(t *testing.T) {
	t.Parallel()
	data := content(1000)
	s := serve(t, data)
	dir, key := cache.Dir(t.TempDir()), sha256Of(data).String()
	victim := filepath.Join(t.TempDir(), "victim")
	write(t, victim, []byte("mine"))
	require.NoError(t, os.Symlink(victim, dir.Part(key)))
	_, err := s.client(nil).Get(t.Context(), dir, s.wanted(sha256Of(data)))
	require.Error(t, err)
	require.NoError(t, os.Remove(dir.Part(key)))
	require.NoError(t, unix.Mkfifo(dir.Part(key), 0o600))
	_, err = s.client(nil).Get(t.Context(), dir, s.wanted(sha256Of(data)))
	require.ErrorContains(t, err, "something that is no file is in the way")
	got, err := os.ReadFile(victim)
	require.NoError(t, err)
	assert.Equal(t, "mine", string(got))
}

func TestOneDownloadForMany(t *testing.T) {
	t.Parallel()
	data := content(size)
	s := serve(t, data)
	dir := cache.Dir(t.TempDir())
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			_, err := s.client(nil).Get(t.Context(), dir, s.wanted(sha256Of(data)))
			assert.NoError(t, err)
		})
	}
	all.Wait()
	assert.Equal(t, "-", s.ranges())
	assert.Len(t, files(t, dir), 2)
}

func TestASilentServerIsLeft(t *testing.T) {
	t.Parallel()
	data := content(1000)
	s := serve(t, data, repeated(hangs, 20)...)
	c := s.client(nil)
	c.Stall = 20 * time.Millisecond
	_, err := c.Get(t.Context(), cache.Dir(t.TempDir()), s.wanted(sha256Of(data)))
	require.ErrorContains(t, err, "nothing more came from 127.0.0.1")
}

func TestNobodyThere(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	w := s.wanted(sha256Of(nil))
	dir := cache.Dir(t.TempDir())
	_, err := (&Client{}).Get(t.Context(), dir, w)
	require.ErrorContains(t, err, "the certificate of 127.0.0.1 is not to be trusted, nobody who is known has signed it")
	assert.Contains(t, fault.HintOf(err), "SSL_CERT_FILE")
	named := w
	named.URL = strings.Replace(w.URL, "127.0.0.1", "localhost", 1)
	_, err = s.client(nil).Get(t.Context(), dir, named)
	require.ErrorContains(t, err, "it is another server's")
	c := s.client(nil)
	s.Close()
	_, err = c.Get(t.Context(), dir, w)
	require.ErrorContains(t, err, "connection refused")
	w.URL = "https://nowhere.invalid/disk.qcow2"
	_, err = c.Get(t.Context(), dir, w)
	require.ErrorContains(t, err, "nowhere.invalid is not found")
	assert.Contains(t, fault.HintOf(err), "HTTPS_PROXY")
	assert.Equal(t, fault.Build, fault.KindOf(err))
}

func TestNoRoom(t *testing.T) {
	t.Parallel()
	dir := small(t)
	data := content(6 << 20)
	s := serve(t, data)
	_, err := s.client(nil).Get(t.Context(), dir, s.wanted(sha256Of(data)))
	require.ErrorContains(t, err, "there is no room for the image in")
	require.ErrorContains(t, err, "6MiB is needed")
	assert.Contains(t, fault.HintOf(err), "XDG_CACHE_HOME")

	// One that says no length is stopped before the disk is full, and what came stays.
	s = serve(t, data, chunked, chunked)
	_, err = s.client(nil).Get(t.Context(), dir, s.wanted(sha256Of(data)))
	require.ErrorContains(t, err, "there is no room for the image in")
	_, err = os.Stat(dir.Part(sha256Of(data).String()))
	require.NoError(t, err)
}

// small is a directory on a file system of 4 MiB.
func small(t *testing.T) cache.Dir {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=4m"); err != nil {
		if os.Geteuid() == 0 {
			require.NoError(t, err)
		}
		t.Skip("only root can mount a small file system")
	}
	t.Cleanup(func() { assert.NoError(t, syscall.Unmount(dir, unix.MNT_DETACH)) })
	return cache.Dir(dir)
}

func TestText(t *testing.T) {
	t.Parallel()
	s := serve(t, []byte("sums"), says(503))
	text, err := s.client(nil).Text(t.Context(), s.URL+"/SHA256SUMS", 100)
	require.NoError(t, err)
	assert.Equal(t, "sums", string(text))
	_, err = s.client(nil).Text(t.Context(), s.URL+"/SHA256SUMS", 3)
	require.ErrorContains(t, err, "larger than it can be")
	s = serve(t, nil, says(404))
	_, err = s.client(nil).Text(t.Context(), s.URL+"/SHA256SUMS", 3)
	require.ErrorContains(t, err, "is not there")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.client(nil).Text(ctx, s.URL+"/SHA256SUMS", 3)
	require.ErrorIs(t, err, context.Canceled)
}

// A process that is killed leaves a part that the next one goes on from.
func TestKilledDownloadGoesOn(t *testing.T) {
	t.Parallel()
	data := content(size)
	s := serve(t, data, func(w http.ResponseWriter, r *http.Request, s *server) {
		w.Header().Set("ETag", s.etag)
		w.Header().Set("Content-Length", "3145728")
		_, _ = w.Write(data[:1<<20])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	dir := cache.Dir(t.TempDir())
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestHelperDownloads$")
	authority := filepath.Join(t.TempDir(), "ca.pem")
	write(t, authority, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+authority, "FETCH_TEST_DIR="+string(dir), "FETCH_TEST_URL="+s.wanted(sha256Of(data)).URL, "FETCH_TEST_DIGEST="+sha256Of(data).Hex)
	require.NoError(t, cmd.Start())
	require.Eventually(t, func() bool {
		info, err := os.Stat(dir.Part(sha256Of(data).String()))
		return err == nil && info.Size() == 1<<20
	}, time.Minute, time.Millisecond)
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	_, err = s.client(nil).Get(t.Context(), dir, s.wanted(sha256Of(data)))
	require.NoError(t, err)
	assert.Equal(t, "- bytes=1048576-", s.ranges())
}

// TestHelperDownloads is the process that TestKilledDownloadGoesOn kills.
func TestHelperDownloads(t *testing.T) {
	dir := os.Getenv("FETCH_TEST_DIR")
	if dir == "" {
		return
	}
	_, _ = (&Client{}).Get(t.Context(), cache.Dir(dir), Wanted{
		URL: os.Getenv("FETCH_TEST_URL"), Digest: checksum.Digest{Algorithm: checksum.SHA256, Hex: os.Getenv("FETCH_TEST_DIGEST")},
	})
}

func FuzzContentRange(f *testing.F) {
	for _, seed := range []string{"bytes 0-9/10", "bytes 5-9/*", "bytes */10", "bytes 9-0/1", "bytes -1-2/3", "", "bytes +1-2/3"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		first, last, total, ok := contentRange(s)
		if !ok {
			return
		}
		assert.GreaterOrEqual(t, first, int64(0))
		assert.GreaterOrEqual(t, last, first)
		assert.True(t, total == -1 || total > last)
	})
}
