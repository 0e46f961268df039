package guest_test

import (
	"archive/tar"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
	"vmctl/pkg/engine/enginetest"
	"vmctl/pkg/fault"
	"vmctl/pkg/guest"
	"vmctl/pkg/progress"
	"vmctl/pkg/spec"
)

// consoleLog is the console's log of a guest that vmctl reads and virtlogd writes.
type consoleLog struct {
	engine.Volumes
	read func(offset int64) io.Reader
	// aside is what was put aside of it; nil is nothing.
	aside func(offset int64) io.Reader
}

func (l consoleLog) ReadLog(_ context.Context, volume string, offset int64) (io.ReadCloser, error) {
	read := l.read
	if strings.HasSuffix(volume, ".0") {
		if read = l.aside; read == nil {
			return nil, fault.New(fault.NotFound, "no %s", volume)
		}
	}
	return io.NopCloser(read(offset)), nil
}

func (l consoleLog) ListVolumes(_ context.Context, prefix string) ([]engine.Volume, error) {
	files := []engine.Volume{{Name: prefix}}
	if l.aside != nil {
		files = append(files, engine.Volume{Name: prefix + ".0"})
	}
	return files, nil
}

func withLog(t *testing.T, read func(offset int64) io.Reader) *engine.Host {
	t.Helper()
	host := boot(t, enginetest.Guest{}).Connect()
	host.Volumes = consoleLog{host.Volumes, read, nil}
	return host
}

// virtlogd puts a log of 2 MiB aside and begins a new one: what comes then is seen, too.
func TestALogThatIsBegunAnewIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log atomic.Value
		log.Store(strings.Repeat("noise\r\n", 300<<10))
		time.AfterFunc(2*time.Second, func() { log.Store("more noise\r\nx login: ") })
		host := withLog(t, func(offset int64) io.Reader {
			text := log.Load().(string)
			return strings.NewReader(text[min(offset, int64(len(text))):])
		})
		outcome, err := guest.Wait(t.Context(), host, "example", guest.Options{Timeout: time.Minute, Sink: progress.Discard})
		require.NoError(t, err)
		assert.Equal(t, guest.ByLogin, outcome.How)
	})
}

// What the log got right before it was put aside is seen in what was put aside.
func TestALogThatWasPutAsideIsReadToItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log, aside atomic.Value
		first := strings.Repeat("noise\r\n", 100)
		log.Store(first)
		time.AfterFunc(2*time.Second, func() {
			aside.Store(first + "x login: ")
			log.Store("noise that goes on\r\n")
		})
		reading := func(text *atomic.Value) func(int64) io.Reader {
			return func(offset int64) io.Reader {
				all := text.Load().(string)
				return strings.NewReader(all[min(offset, int64(len(all))):])
			}
		}
		host := boot(t, enginetest.Guest{}).Connect()
		host.Volumes = consoleLog{host.Volumes, reading(&log), reading(&aside)}
		outcome, err := waitOn(t.Context(), host, `console /x login:/`, time.Minute)
		require.NoError(t, err)
		assert.Equal(t, guest.ByConsole, outcome.How)
	})
}

// flood never ends, and says nothing that means anything.
type flood struct {
	text string
	at   int
	read *atomic.Int64
}

func (f *flood) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		k := copy(p[n:], f.text[f.at:])
		n, f.at = n+k, (f.at+k)%len(f.text)
	}
	f.read.Add(int64(n))
	return n, nil
}

// A guest that prints faster than anybody reads keeps nobody from giving up on it, and
// takes no memory.
func TestAFloodOnTheConsoleHoldsNobodyUp(t *testing.T) {
	var read atomic.Int64
	host := withLog(t, func(offset int64) io.Reader {
		return &flood{text: strings.Repeat("\x1b]52;c;\x9b2J\x00aaaaaaaaaaaaaaaaaab", 100), read: &read}
	})
	before := heap()
	_, err := waitOn(t.Context(), host, `console /^((a*)*)*c$/`, 2*time.Second)
	require.Equal(t, fault.Timeout, fault.KindOf(err), "%v", err)
	assert.Less(t, heap(), before+(8<<20))
	assert.Positive(t, read.Load())

	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err = waitOn(ctx, host, "auto", 0)
	assert.Equal(t, fault.Interrupted, fault.KindOf(err), "%v", err)
}

func waitOn(ctx context.Context, host *engine.Host, text string, timeout time.Duration) (guest.Outcome, error) {
	sign, err := spec.ParseReady(text)
	if err != nil {
		return guest.Outcome{}, err
	}
	return guest.Wait(ctx, host, "example", guest.Options{Ready: sign, Timeout: timeout, Sink: progress.Discard})
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// chatty is an agent that has endless output to hand over.
type chatty struct{ chunk string }

func (c *chatty) AgentCommand(ctx context.Context, _, command string, _ time.Duration) (string, error) {
	var q struct {
		Execute   string
		Arguments struct{ Count int }
	}
	if err := json.Unmarshal([]byte(command), &q); err != nil {
		return "", err
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	switch q.Execute {
	case "guest-exec":
		return `{"return":{"pid":1}}`, nil
	case "guest-exec-status":
		return `{"return":{"exited":false}}`, nil
	case "guest-file-open":
		return `{"return":1}`, nil
	case "guest-file-read":
		if c.chunk == "" {
			c.chunk = `{"return":{"buf-b64":"` + base64.StdEncoding.EncodeToString(make([]byte, q.Arguments.Count)) + `"}}`
		}
		return c.chunk, nil
	default:
		return `{"return":{}}`, nil
	}
}

// most counts what is written, notes how much memory is in use, and ends it all at a limit.
type most struct {
	limit, written int64
	heap           uint64
	stop           context.CancelFunc
}

func (m *most) Write(p []byte) (int, error) {
	if m.written += int64(len(p)); m.written/(2<<20) != (m.written-int64(len(p)))/(2<<20) {
		m.heap = max(m.heap, heap())
	}
	if m.written >= m.limit {
		m.stop()
	}
	return len(p), nil
}

// Output without end is handed on as it comes, and Ctrl-C ends it.
func TestEndlessOutputTakesNoMemory(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	out := &most{limit: 8 << 20, stop: cancel}
	before := heap()
	_, err := guest.NewAgent(&engine.Host{Agents: &chatty{}}, "example").Run(ctx, guest.Command{Argv: []string{"yes"}, Stdout: out})
	assert.Equal(t, fault.Interrupted, fault.KindOf(err), "%v", err)
	assert.GreaterOrEqual(t, out.written, out.limit)
	assert.Less(t, out.heap, before+(6<<20))
}

// answering gives one answer to everything.
type answering string

func (a answering) AgentCommand(context.Context, string, string, time.Duration) (string, error) {
	return string(a), nil
}

// What is no answer is a sentence, however large or deep it is.
func TestAnswersThatAreNone(t *testing.T) {
	for name, answer := range map[string]string{
		"deep":         `{"return":` + strings.Repeat("[", 1<<18),
		"deep, closed": `{"return":` + strings.Repeat("[", 1<<17) + strings.Repeat("]", 1<<17) + "}",
		"huge":         `{"return":"` + strings.Repeat("x", 1<<20) + `"}`,
		"huge number":  `{"return":` + strings.Repeat("9", 1<<18) + "}",
		"wrong type":   `{"return":{"pid":"1"}}`,
		"binary":       "\x00\xff\x1b[2J",
		"nothing":      "",
	} {
		t.Run(name, func(t *testing.T) {
			agent := guest.NewAgent(&engine.Host{Agents: answering(answer)}, "example")
			_, err := agent.Run(t.Context(), guest.Command{Argv: []string{"true"}})
			require.Error(t, err)
			assert.Equal(t, fault.Refused, fault.KindOf(err))
			assert.Less(t, len(err.Error()), 200)
			assert.NotContains(t, err.Error(), "\x1b")
			assert.NotEmpty(t, fault.HintOf(err))
			keys, err := agent.HostKeys(t.Context())
			require.Error(t, err)
			assert.Empty(t, keys)
		})
	}
}

// liar is a guest that answers the question what there is with another name than the one that was
// asked for, and sends what is to have that name.
type liar struct{ look, content string }

func (l liar) Run(_ context.Context, c guest.Command) (int, error) {
	said := l.content
	if strings.Contains(c.Argv[2], "stat -L") {
		said = l.look
	}
	_, err := io.WriteString(c.Stdout, said)
	return 0, err
}

// What a copy is called here is for the person to say, and not for the guest (as in CVE-2019-6111).
func TestAGuestDoesNotChooseNamesHere(t *testing.T) {
	var packed strings.Builder
	w := tar.NewWriter(&packed)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o777}))
	require.NoError(t, w.WriteHeader(&tar.Header{Name: "./authorized_keys", Typeflag: tar.TypeReg, Mode: 0o666}))
	require.NoError(t, w.Close())
	for from, want := range map[string]string{"report": "report", "/srv/report/": "report", "": "example", ".": "example", "~": "example", "..": "example", "/": "example", "a/..": "example"} {
		for _, name := range []string{"/.bashrc", "/x/..", "/home/x/.ssh", "/", "/x/a\nb"} {
			top := t.TempDir()
			here := filepath.Join(top, "here")
			require.NoError(t, os.Mkdir(here, 0o700))
			if path.Base("/"+from) == "report" {
				job := &guest.Copy{Runner: liar{"f 666 5\n" + name, "alias"}, Machine: "example"}
				require.NoError(t, job.Download(t.Context(), from, here))
				require.Equal(t, []string{"here", "here/" + want}, within(t, top), "%q said of %q", name, from)
				require.NoError(t, os.Remove(filepath.Join(here, want)))
			}
			job := &guest.Copy{Runner: liar{"d " + name, packed.String()}, Machine: "example", Recursive: true}
			require.NoError(t, job.Download(t.Context(), from, here))
			require.Equal(t, []string{"here", "here/" + want, "here/" + want + "/authorized_keys"}, within(t, top), "%q said of %q", name, from)
		}
	}
}

// within is all that is in a directory.
func within(t *testing.T, dir string) (all []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(dir, name)
		if relative == "." || err != nil {
			return err
		}
		all = append(all, relative)
		info, err := d.Info()
		assert.Zero(t, info.Mode().Perm()&0o022, "nobody else may write to %s", name)
		return err
	}))
	return all
}
