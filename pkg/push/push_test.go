package push

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"vmctl/pkg/delta"
	"vmctl/pkg/engine"
)

// TestMain makes this program the host's end when it is started as that.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "host-agent" {
		_ = Serve(context.Background(), os.Stdin, os.Stdout)
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

const volume = "base-sha256-0123.me-1.raw"

// host is a pool's directory with a volume that was made a moment ago.
func host(t testing.TB) (dir string) {
	dir = t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, volume), []byte("what qemu-img wrote"), 0o600))
	return dir
}

// lies puts a whole image into a pool.
func lies(t testing.TB, dir, name string, content []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, name+committed), nil, 0o600))
}

func fileOf(t testing.TB, content []byte) *os.File {
	t.Helper()
	name := filepath.Join(t.TempDir(), "image")
	require.NoError(t, os.WriteFile(name, content, 0o600))
	f, err := os.Open(name)
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// connected runs both ends in this process.
func connected(t testing.TB, dir string, content []byte, report func(int64)) (*client, error) {
	t.Helper()
	c, err := connectedBy(t, dir, content, report, func(c net.Conn) io.Writer { return c })
	return c, err
}

// connectedBy runs both ends with something between them that the client writes to.
func connectedBy(t testing.TB, dir string, content []byte, report func(int64), by func(net.Conn) io.Writer) (*client, error) {
	t.Helper()
	ours, theirs := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = serve(t.Context(), theirs, theirs)
		_ = theirs.Close()
	}()
	l := &link{r: ours, w: by(ours)}
	require.NoError(t, greet(l))
	if err := l.sendJSON(frameIndex, index{Pool: dir}); err != nil {
		return nil, err
	}
	p := engine.Push{Volume: volume, Image: fileOf(t, content), Size: int64(len(content)), Report: report}
	c := &client{link: l, hangUp: func() { _ = ours.Close() }, Push: p, reading: read(t.Context(), p, delta.Salt{})}
	defer c.end()
	err := c.run(t.Context())
	_ = ours.Close()
	<-done
	return c, err
}

// cut is a connection that is lost after so many bytes.
type cut struct {
	net.Conn
	left int
}

func (c *cut) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p[:min(len(p), c.left)])
	if c.left -= n; err == nil && n < len(p) {
		_ = c.Close()
		err = io.ErrClosedPipe
	}
	return n, err
}

// TestPushIsCutAnywhere: what a cut leaves is no image, and the next push makes it one.
func TestPushIsCutAnywhere(t *testing.T) {
	old, image := rebuilt()
	image = image[:3<<20+17]
	for point := range 10 {
		dir := host(t)
		lies(t, dir, "base-sha256-old.me-1.raw", old)
		_, err := connectedBy(t, dir, image, nil, func(c net.Conn) io.Writer { return &cut{c, 100 + (1<<20+20<<10)*point/10} })
		require.Error(t, err)
		_, err = os.Stat(filepath.Join(dir, volume+committed))
		require.ErrorIs(t, err, os.ErrNotExist)
		_, err = connected(t, dir, image, nil)
		require.NoError(t, err)
		same(t, dir, image)
	}
}

func noise(random *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := 0; i+8 <= n; i += 8 {
		v := random.Uint64()
		for j := range 8 {
			b[i+j] = byte(v >> (8 * j))
		}
	}
	return b
}

// rebuilt is an image, and another one that has nearly all of it somewhere else.
func rebuilt() (old, image []byte) {
	random := rand.New(rand.NewPCG(1, 2))
	old = noise(random, 10<<20)
	image = append(noise(random, 1<<20), old[6<<20:]...)
	image = append(image, make([]byte, 5<<20)...)
	image = append(image, old[:6<<20]...)
	return old, append(image, "and a short block"...)
}

func TestPushOfARebuiltImage(t *testing.T) {
	old, image := rebuilt()
	dir := host(t)
	lies(t, dir, "base-sha256-old.me-1.qcow2", old)
	var last int64
	c, err := connected(t, dir, image, func(arrived int64) {
		assert.GreaterOrEqual(t, arrived, last)
		last = arrived
	})
	require.NoError(t, err)
	assert.Equal(t, int64(len(image)), last)
	assert.InDelta(t, 1<<20, c.sent, 64<<10, "only what is new travels")
	same(t, dir, image)
	info, err := os.Stat(filepath.Join(dir, volume))
	require.NoError(t, err)
	assert.Less(t, info.Sys().(*syscall.Stat_t).Blocks*512, int64(len(image)-4<<20), "what is zeros takes no room")
	unchanged, err := os.ReadFile(filepath.Join(dir, "base-sha256-old.me-1.qcow2"))
	require.NoError(t, err)
	assert.True(t, bytes.Equal(old, unchanged))
}

// What becomes smaller travels compressed, and all else as it is: there is no loss in trying.
func TestPushCompressesWhatItCan(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	text := bytes.Repeat([]byte("what is written again and again\n"), 4<<20/32)
	for name, tt := range map[string]struct {
		image []byte
		most  int64
	}{
		"text":  {text, 64 << 10},
		"noise": {noise(random, 4<<20+100), 4<<20 + 1<<10},
		"mixed": {slices.Concat(noise(random, 2<<20), text, noise(random, 1<<20), text), 3<<20 + 128<<10},
	} {
		t.Run(name, func(t *testing.T) {
			dir := host(t)
			c, err := connected(t, dir, tt.image, nil)
			require.NoError(t, err)
			same(t, dir, tt.image)
			assert.LessOrEqual(t, c.sent, tt.most)
			r, _ := here(t) // and through pipes
			dir, _, err = pushed(t, r, tt.image)
			require.NoError(t, err)
			same(t, dir, tt.image)
		})
	}
}

func same(t testing.TB, dir string, image []byte) {
	t.Helper()
	got, err := os.ReadFile(filepath.Join(dir, volume))
	require.NoError(t, err)
	require.True(t, bytes.Equal(image, got), "the file is the image")
}

// What an earlier push, or an upload through libvirt, left is kept where it is right.
func TestPushGoesOn(t *testing.T) {
	_, image := rebuilt()
	for name, left := range map[string][]byte{
		"nothing":          nil,
		"a beginning":      image[:7<<20+123],
		"all":              image,
		"more":             append(bytes.Clone(image), image...),
		"something else":   bytes.Repeat([]byte("x"), 3<<20),
		"all but one byte": append([]byte{image[0] + 1}, image[1:]...),
	} {
		t.Run(name, func(t *testing.T) {
			dir := host(t)
			require.NoError(t, os.WriteFile(filepath.Join(dir, volume), left, 0o600))
			c, err := connected(t, dir, image, nil)
			require.NoError(t, err)
			same(t, dir, image)
			switch name {
			case "a beginning":
				assert.Less(t, c.sent, int64(len(image)-7<<20))
			case "all", "more", "all but one byte":
				assert.Less(t, c.sent, int64(delta.Block+100))
			}
		})
	}
}

// TestPushIsBitIdentical: whatever lies there and whatever the image is.
func TestPushIsBitIdentical(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	blocks := func(n int) []byte {
		var out []byte
		for range n {
			b := make([]byte, delta.Block)
			if kind := byte(random.IntN(20)); kind > 0 {
				b[0], b[delta.Block-1] = kind, kind
			}
			out = append(out, b...)
		}
		return out
	}
	for range 30 {
		dir := host(t)
		for i := range random.IntN(3) {
			lies(t, dir, "base-sha256-"+strings.Repeat("a", i+1)+".raw", blocks(random.IntN(100)))
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, volume), blocks(random.IntN(200)), 0o600))
		image := append(blocks(random.IntN(150)), 1)
		image = image[random.IntN(2)*100%len(image):]
		_, err := connected(t, dir, image, nil)
		require.NoError(t, err)
		same(t, dir, image)
	}
}

// TestWhatIsDone: a file is proved as far as nothing before is missing, in whatever order
// its blocks come.
func TestWhatIsDone(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	for range 200 {
		list := todo{blocks: 1 + random.Int64N(500)}
		missing := make([]bool, list.blocks)
		for !done(t, &list, missing) {
			if at := random.Int64N(list.blocks); at < list.planned {
				r := run{at, 1 + random.Int64N(3)}
				asked := true
				for b := r.at; b < r.at+r.count; b++ {
					asked = asked && b < list.planned && missing[b]
				}
				if !asked {
					continue // the connection would end
				}
				require.NoError(t, list.asked(r))
				list.came(r)
				for b := r.at; b < r.at+r.count; b++ {
					missing[b] = false
				}
				continue
			}
			count := min(1+random.Int64N(90), list.blocks-list.planned)
			var ops []delta.Op
			for b := list.planned; b < list.planned+count; b++ {
				op := delta.Op{Kind: delta.Copy, At: b, Count: 1}
				if missing[b] = random.IntN(3) == 0; missing[b] {
					op.Kind = delta.Data
				}
				ops = append(ops, op)
			}
			list.plan(ops, count)
			require.LessOrEqual(t, list.done(), list.planned-count, "it is not copied yet")
			list.make(count)
		}
		require.ErrorContains(t, list.asked(run{0, 1}), "nobody asked")
	}
}

// done compares how much is done with what is missing, and says whether that is all.
func done(t *testing.T, list *todo, missing []bool) bool {
	t.Helper()
	want := int64(0)
	for want < list.planned && !missing[want] {
		want++
	}
	require.Equal(t, want, list.done())
	return want == list.blocks
}

func TestWhatThePoolRefuses(t *testing.T) {
	image := []byte("an image")
	for name, tt := range map[string]struct {
		prepare func(t *testing.T, dir string) string
		want    string
	}{
		"a volume that is an image already": {func(t *testing.T, dir string) string {
			lies(t, dir, volume, []byte("precious"))
			return dir
		}, "is an image already"},
		"a link": {func(t *testing.T, dir string) string {
			require.NoError(t, os.Rename(filepath.Join(dir, volume), filepath.Join(dir, "other")))
			require.NoError(t, os.Symlink("other", filepath.Join(dir, volume)))
			return dir
		}, "too many levels of symbolic links"},
		"a pipe": {func(t *testing.T, dir string) string {
			require.NoError(t, os.Remove(filepath.Join(dir, volume)))
			require.NoError(t, syscall.Mkfifo(filepath.Join(dir, volume), 0o600))
			return dir
		}, "is no regular file"},
		"nothing": {func(t *testing.T, dir string) string {
			require.NoError(t, os.Remove(filepath.Join(dir, volume)))
			return dir
		}, "no such file"},
		"no pool":         {func(_ *testing.T, dir string) string { return dir + "/none" }, "no such file"},
		"a relative pool": {func(*testing.T, string) string { return "pool" }, "no absolute path"},
		"a pool that is a link": {func(t *testing.T, dir string) string {
			require.NoError(t, os.Symlink(dir, dir+"-link"))
			return dir + "-link"
		}, "not a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := host(t)
			_, err := connected(t, tt.prepare(t, dir), image, nil)
			var said failure
			require.ErrorAs(t, err, &said)
			assert.Equal(t, noAccess, said.Reason)
			assert.Contains(t, said.Text, tt.want)
		})
	}
}

// hostile says things to the host's end and gives what it answers last.
func hostile(t testing.TB, dir string, frames ...[]byte) failure {
	t.Helper()
	var in, out bytes.Buffer
	for _, f := range frames {
		in.Write(f)
	}
	_ = serve(t.Context(), &in, &out)
	l := &link{r: &out}
	var said failure
	for {
		kind, payload, err := l.receive(nil)
		if err != nil {
			return said
		}
		if kind == frameError {
			require.NoError(t, json.Unmarshal(payload, &said))
		}
	}
}

func frame(kind byte, payload []byte) []byte {
	var out bytes.Buffer
	_ = (&link{w: &out}).send(kind, payload)
	return out.Bytes()
}

func beginning(dir, name string, size int64) []byte {
	where, _ := json.Marshal(index{Pool: dir})
	what, _ := json.Marshal(begin{name, size})
	return append(frame(frameIndex, where), frame(frameBegin, what)...)
}

func TestHostileClients(t *testing.T) {
	dir := host(t)
	lies(t, dir, "base-sha256-old.raw", []byte("precious"))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "web.root.qcow2"), []byte("precious"), 0o600))
	first := beginning(dir, volume, 3*delta.Block)
	keys := frame(frameKeys, encodeKeys([]delta.Key{5, 6, delta.Hole}))
	for name, tt := range map[string]struct {
		frames [][]byte
		want   string
	}{
		"keys first":              {[][]byte{keys}, "did not say where the images are"},
		"keys second":             {[][]byte{frame(frameIndex, []byte(`{"pool":"`+dir+`"}`)), keys}, "did not say what to make"},
		"a size of nothing":       {[][]byte{beginning(dir, volume, 0)}, "did not say what to make"},
		"a size below nothing":    {[][]byte{beginning(dir, volume, -1)}, "did not say what to make"},
		"a size beyond all":       {[][]byte{beginning(dir, volume, maxImage+1)}, "did not say what to make"},
		"another file":            {[][]byte{beginning(dir, "web.root.qcow2", 1)}, "is not the name of an image"},
		"a file elsewhere":        {[][]byte{beginning(dir, "../base-x.raw", 1)}, "is not the name of an image"},
		"another image":           {[][]byte{beginning(dir, "base-sha256-old.raw", 1)}, "is an image already"},
		"a marker":                {[][]byte{beginning(dir, "base-sha256-old.raw.ok", 1)}, "is not the name of an image"},
		"a long message":          {[][]byte{first, {frameKeys, 0xff, 0xff, 0xff, 0xff}}, "too long"},
		"half a key":              {[][]byte{first, frame(frameKeys, []byte{1, 2, 3})}, "3 bytes of keys"},
		"too many keys":           {[][]byte{first, keys, keys}, "where 0 keys are left"},
		"data that nobody wants":  {[][]byte{first, frame(frameData, appendRun(nil, run{0, 1}))}, "nobody asked"},
		"data of other places":    {[][]byte{first, keys, frame(frameData, appendRun(nil, run{3, 1}))}, "are not among"},
		"data without a place":    {[][]byte{first, keys, frame(frameData, nil)}, "half a run"},
		"data of too much":        {[][]byte{beginning(dir, volume, 1<<30), frame(frameData, appendRun(nil, run{0, 1000}))}, "too many"},
		"data that is no data":    {[][]byte{first, keys, frame(frameData, append(appendRun(nil, run{0, 1}), "nonsense"...))}, "cannot be read"},
		"plain, and unwanted":     {[][]byte{first, frame(framePlain, append(appendRun(nil, run{0, 1}), make([]byte, delta.Block)...))}, "nobody asked"},
		"plain, and too little":   {[][]byte{first, keys, frame(framePlain, append(appendRun(nil, run{0, 1}), "some"...))}, "cannot be 4 bytes"},
		"plain, and too much":     {[][]byte{first, keys, frame(framePlain, append(appendRun(nil, run{0, 1}), make([]byte, delta.Block+1)...))}, "cannot be 4097 bytes"},
		"plain without a place":   {[][]byte{first, keys, frame(framePlain, []byte("some"))}, "half a run"},
		"the end too early":       {[][]byte{first, keys, frame(frameEnd, []byte(`{}`))}, "block 0 of 3 has not come"},
		"the end before its keys": {[][]byte{first, frame(frameEnd, []byte(`{}`))}, "the keys of 3 blocks"},
		"another begin":           {[][]byte{first, first}, "is not expected"},
		"a wrong digest":          {[][]byte{beginning(dir, volume, delta.Block), frame(frameKeys, encodeKeys([]delta.Key{0})), frame(frameEnd, []byte(`{"sha256":"00"}`))}, "has digest"},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Contains(t, hostile(t, dir, tt.frames...).Text, tt.want)
			precious(t, dir)
		})
	}
}

// precious checks that nothing but the volume was written to.
func precious(t testing.TB, dir string) {
	t.Helper()
	for _, name := range []string{"base-sha256-old.raw", "web.root.qcow2"} {
		content, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, "precious", string(content))
	}
	all, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, all, 4)
}

func FuzzServe(f *testing.F) {
	dir := host(f)
	lies(f, dir, "base-sha256-old.raw", []byte("precious"))
	require.NoError(f, os.WriteFile(filepath.Join(dir, "web.root.qcow2"), []byte("precious"), 0o600))
	keys := frame(frameKeys, encodeKeys([]delta.Key{5, 6, delta.Hole}))
	f.Add(bytes.Join([][]byte{beginning(dir, volume, 3*delta.Block), keys, frame(frameEnd, []byte(`{}`))}, nil))
	f.Add(bytes.Join([][]byte{beginning(dir, volume, 100), frame(frameData, appendRun(nil, run{0, 1}))}, nil))
	f.Add(bytes.Join([][]byte{beginning(dir, volume, 100), frame(frameKeys, encodeKeys([]delta.Key{5})), frame(framePlain, append(appendRun(nil, run{0, 1}), "some"...))}, nil))
	f.Fuzz(func(t *testing.T, said []byte) {
		_ = serve(t.Context(), bytes.NewReader(said), io.Discard)
		precious(t, dir)
	})
}

// FuzzHost lets the host say anything: the client ends, and takes nothing for the image but
// its digest.
func FuzzHost(f *testing.F) {
	need := frame(frameNeed, appendRun(nil, run{0, 1}))
	f.Add(bytes.Join([][]byte{frame(frameReady, nil), need, frame(frameDone, []byte(`{"sha256":"x"}`))}, nil))
	f.Add(bytes.Join([][]byte{frame(frameReady, nil), need, need, need, frame(frameError, []byte(`{"reason":"no space","text":"\u001b]0;"}`))}, nil))
	f.Add(frame(frameNeed, bytes.Repeat([]byte{0xff}, 1000)))
	image := fileOf(f, bytes.Repeat([]byte("image"), 10000))
	f.Fuzz(func(t *testing.T, said []byte) {
		p := engine.Push{Image: image, Size: 50000}
		c := &client{link: &link{r: bytes.NewReader(said), w: io.Discard}, hangUp: func() {}, Push: p, reading: read(t.Context(), p, delta.Salt{})}
		defer c.end()
		require.Error(t, c.run(t.Context()))
	})
}
