package guest_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/guest"
)

// localAgent does on this machine what qemu-ga does in a guest.
type localAgent struct {
	home string
	// off are commands that its owner forbids.
	off map[string]bool

	mu      sync.Mutex
	files   map[int64]*os.File
	running map[int64]*process
	last    int64
	// written counts what came by guest-file-write.
	written int
}

type process struct {
	cmd      *exec.Cmd
	out, err bytes.Buffer
	done     chan struct{}
}

func newLocalAgent(t *testing.T) *localAgent {
	t.Helper()
	return &localAgent{home: t.TempDir(), off: map[string]bool{}, files: map[int64]*os.File{}, running: map[int64]*process{}}
}

func (a *localAgent) agent() *guest.Agent {
	return guest.NewAgent(&engine.Host{Agents: a}, "example")
}

// AgentCommand implements engine.Agents.
func (a *localAgent) AgentCommand(ctx context.Context, _, command string, _ time.Duration) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	var q struct {
		Execute   string
		Arguments struct {
			Path, Mode string
			Arg        []string
			Input      []byte `json:"input-data"`
			Data       []byte `json:"buf-b64"`
			Handle     int64
			PID        int64
			Count      int
			Offset     int64
		}
	}
	if err := json.Unmarshal([]byte(command), &q); err != nil {
		return "", err
	}
	if a.off[q.Execute] {
		return "", &engine.AgentError{Command: q.Execute, Reason: "Command " + q.Execute + " has been disabled"}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	result, err := a.answer(q.Execute, q.Arguments.Path, q.Arguments.Mode, q.Arguments.Arg, q.Arguments.Input, q.Arguments.Data, q.Arguments.Handle, q.Arguments.PID, q.Arguments.Count, q.Arguments.Offset)
	if err != nil {
		return "", &engine.AgentError{Command: q.Execute, Reason: err.Error()}
	}
	reply, err := json.Marshal(map[string]any{"return": result})
	return string(reply), err
}

func (a *localAgent) answer(name, path, mode string, arg []string, input, data []byte, handle, pid int64, count int, offset int64) (any, error) {
	a.last++
	switch name {
	case "guest-exec":
		p := &process{cmd: exec.Command(path, arg...), done: make(chan struct{})}
		p.cmd.Stdout, p.cmd.Stderr, p.cmd.Stdin = &p.out, &p.err, bytes.NewReader(input)
		p.cmd.Env = []string{"HOME=" + a.home, "PATH=" + os.Getenv("PATH")}
		if err := p.cmd.Start(); err != nil {
			return nil, fmt.Errorf("Failed to execute child process “%s” (No such file or directory)", path)
		}
		go func() { _ = p.cmd.Wait(); close(p.done) }()
		a.running[a.last] = p
		return map[string]any{"pid": a.last}, nil
	case "guest-exec-status":
		p := a.running[pid]
		if p == nil {
			return nil, errors.New("Invalid parameter 'pid'")
		}
		select {
		case <-p.done:
		default:
			return map[string]any{"exited": false}, nil
		}
		delete(a.running, pid) // it tells once
		return map[string]any{"exited": true, "exitcode": p.cmd.ProcessState.ExitCode(), "out-data": p.out.Bytes(), "err-data": p.err.Bytes()}, nil
	case "guest-file-open":
		flags := map[string]int{"r": os.O_RDONLY, "r+": os.O_RDWR, "w": os.O_WRONLY | os.O_CREATE | os.O_TRUNC}[mode]
		if !filepath.IsAbs(path) {
			return nil, errors.New("relative")
		}
		f, err := os.OpenFile(path, flags|syscall.O_NONBLOCK, 0o666)
		if err != nil {
			return nil, fmt.Errorf("failed to open file '%s' (mode: '%s'): No such file or directory", path, mode)
		}
		a.files[a.last] = f
		return a.last, nil
	}
	f := a.files[handle]
	if f == nil {
		return map[string]any{}, nil
	}
	switch name {
	case "guest-file-read":
		p := make([]byte, count)
		n, err := io.ReadFull(f, p)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, err
		}
		return map[string]any{"count": n, "buf-b64": p[:n], "eof": n < count}, nil
	case "guest-file-seek":
		at, err := f.Seek(offset, io.SeekStart)
		return map[string]any{"position": at, "eof": false}, err
	case "guest-file-write":
		n, err := f.Write(data)
		a.written += n
		return map[string]any{"count": n}, err
	case "guest-file-close":
		delete(a.files, handle)
		return map[string]any{}, f.Close()
	}
	return map[string]any{}, nil
}

// left are directories of vmctl's that are left in /tmp.
func (a *localAgent) left(t *testing.T, before []string) {
	t.Helper()
	require.Eventually(t, func() bool { return len(mine(t)) <= len(before) }, 10*time.Second, 20*time.Millisecond, "nothing stays in the guest")
}

func mine(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob("/tmp/.vmctl-*")
	require.NoError(t, err)
	return found
}

func TestRun(t *testing.T) {
	large := bytes.Repeat([]byte("0123456789abcdef\x00\xff\n"), 60000)
	for name, tt := range map[string]struct {
		argv     []string
		in       io.Reader
		bulk     bool
		status   int
		out, err string
	}{
		"quick":               {argv: []string{"echo", "a  'b"}, out: "a  'b\n"},
		"status":              {argv: []string{"sh", "-c", "echo no >&2; exit 7"}, status: 7, err: "no\n"},
		"signal":              {argv: []string{"sh", "-c", "kill -9 $$"}, status: 137},
		"small input":         {argv: []string{"cat"}, in: strings.NewReader("small\n"), out: "small\n"},
		"no input":            {argv: []string{"cat"}},
		"large both ways":     {argv: []string{"cat"}, in: bytes.NewReader(large), out: string(large)},
		"large in bulk":       {argv: []string{"cat"}, in: bytes.NewReader(large), bulk: true, out: string(large)},
		"bulk of nothing":     {argv: []string{"true"}, bulk: true},
		"bulk with a status":  {argv: []string{"sh", "-c", "echo x; echo y >&2; exit 3"}, bulk: true, out: "x\n", err: "y\n", status: 3},
		"input nobody reads":  {argv: []string{"head", "-c", "5"}, in: bytes.NewReader(large), out: string(large[:5])},
		"slow and long":       {argv: []string{"sh", "-c", "echo a; sleep 0.4; echo b"}, out: "a\nb\n"},
		"arguments are words": {argv: []string{"printf", "%s|", "$HOME", "", "-n", "*"}, out: "$HOME||-n|*|"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newLocalAgent(t)
			before := mine(t)
			var out, diag bytes.Buffer
			status, err := a.agent().Run(t.Context(), guest.Command{Argv: tt.argv, Stdin: tt.in, Stdout: &out, Stderr: &diag, Bulk: tt.bulk})
			require.NoError(t, err)
			assert.Equal(t, tt.status, status)
			assert.Equal(t, len(tt.out), out.Len())
			assert.True(t, bytes.Equal([]byte(tt.out), out.Bytes()), "the output is what was written")
			if tt.err != "" || tt.status == 0 {
				assert.Equal(t, tt.err, diag.String())
			}
			a.left(t, before)
		})
	}
}

func TestRunThatIsNotThere(t *testing.T) {
	var diag bytes.Buffer
	status, err := newLocalAgent(t).agent().Run(t.Context(), guest.Command{Argv: []string{"no-such-program"}, Stderr: &diag})
	require.NoError(t, err)
	assert.Equal(t, 127, status)
	assert.Contains(t, diag.String(), "not found")
	assert.NotContains(t, diag.String(), "/tmp/")
}

func TestInterruptionStopsWhatRuns(t *testing.T) {
	a := newLocalAgent(t)
	before := mine(t)
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	go func() {
		p := make([]byte, 1)
		_, _ = io.ReadFull(r, p) // it runs
		cancel()
		_, _ = io.Copy(io.Discard, r)
	}()
	_, err := a.agent().Run(ctx, guest.Command{Argv: []string{"sh", "-c", "echo started; sleep 1234 & sleep 4321"}, Stdout: w})
	require.Error(t, err)
	assert.Equal(t, fault.Interrupted, fault.KindOf(err))
	a.left(t, before)
	require.Eventually(t, func() bool {
		ps, err := exec.CommandContext(t.Context(), "ps", "-eo", "args").Output()
		return err == nil && !strings.Contains(string(ps), "sleep 1234") && !strings.Contains(string(ps), "sleep 4321")
	}, 10*time.Second, 50*time.Millisecond, "it was stopped with all that it started")
}

func TestForbiddenCommandsAreNamed(t *testing.T) {
	a := newLocalAgent(t)
	a.off["guest-exec"] = true
	_, err := a.agent().Run(t.Context(), guest.Command{Argv: []string{"true"}})
	require.Error(t, err)
	assert.Equal(t, fault.Refused, fault.KindOf(err))
	assert.Equal(t, "cannot run true: the guest agent of example does not allow guest-exec", err.Error())
	assert.Contains(t, fault.HintOf(err), "--via ssh")
}

// answers is an agent that says the same to everything.
type answers func() (string, error)

func (a answers) AgentCommand(context.Context, string, string, time.Duration) (string, error) {
	return a()
}

func TestHostileAnswers(t *testing.T) {
	for name, tt := range map[string]struct {
		reply string
		err   error
		kind  fault.Kind
	}{
		"nobody":         {err: &fault.Error{Kind: fault.Refused, Msg: "x", Cause: engine.ErrNoAgent}, kind: fault.Refused},
		"no JSON":        {reply: "\x1b]0;owned\a", kind: fault.Refused},
		"deep":           {reply: strings.Repeat(`{"return":[`, 100000), kind: fault.Refused},
		"another shape":  {reply: `{"return":"pid"}`, kind: fault.Refused},
		"nothing":        {reply: `{}`, kind: fault.Refused},
		"lies about all": {reply: `{"return":{"pid":1,"exited":true,"exitcode":99999999999999999999}}`, kind: fault.Refused},
		"escapes":        {err: &engine.AgentError{Command: "guest-exec", Reason: "\x1b[2Jgone\nvmctl: all is well"}, kind: fault.Other},
	} {
		t.Run(name, func(t *testing.T) {
			a := guest.NewAgent(&engine.Host{Agents: answers(func() (string, error) { return tt.reply, tt.err })}, "example")
			_, err := a.Run(t.Context(), guest.Command{Argv: []string{"true"}})
			require.Error(t, err)
			assert.Equal(t, tt.kind, fault.KindOf(err), "%v", err)
			assert.NotContains(t, err.Error(), "\x1b")
			assert.NotContains(t, err.Error(), "\n")
		})
	}
}

// Output that was read does not stay on the guest's disk while the program goes on.
func TestOutputThatWasReadIsForgotten(t *testing.T) {
	a := newLocalAgent(t)
	end := filepath.Join(a.home, "end")
	var out count
	ended := make(chan error, 1)
	go func() {
		_, err := a.agent().Run(t.Context(), guest.Command{
			Argv: []string{"sh", "-c", `echo "$$" >"$HOME/pid"; head -c 20000000 /dev/zero; until [ -e "$HOME/end" ]; do sleep 0.05; done; echo end`}, Stdout: &out,
		})
		ended <- err
	}()
	require.Eventually(t, func() bool {
		pid, err := os.ReadFile(filepath.Join(a.home, "pid"))
		if err != nil {
			return false
		}
		info, err := os.Stat("/proc/" + strings.TrimSpace(string(pid)) + "/fd/1")
		if err != nil {
			return false
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		return ok && info.Size() == 20000000 && stat.Blocks*512 < 8<<20
	}, time.Minute, 10*time.Millisecond)
	require.NoError(t, os.WriteFile(end, nil, 0o600))
	require.NoError(t, <-ended)
	assert.EqualValues(t, 20000004, out.Load())
}

type count struct{ atomic.Int64 }

func (c *count) Write(p []byte) (int, error) { c.Add(int64(len(p))); return len(p), nil }

// What becomes smaller goes through the agent in small: qemu-ga is slow.
func TestCopiesAreSqueezed(t *testing.T) {
	a := newLocalAgent(t)
	here, moved := t.TempDir(), int64(0)
	job := &guest.Copy{Runner: a.agent(), Machine: "example", Recursive: true, Moved: func(n, _ int64) { moved = n }}
	words := bytes.Repeat([]byte("all work and no play\n"), 100_000)
	noise := make([]byte, 300<<10)
	_, _ = rand.Read(noise)
	for name, content := range map[string][]byte{"words": words, "noise": noise, "little": words[:1000]} {
		require.NoError(t, os.WriteFile(filepath.Join(here, name), content, 0o640))
		a.written = 0
		require.NoError(t, job.Upload(t.Context(), filepath.Join(here, name), ""))
		same(t, filepath.Join(a.home, name), content, 0o640)
		assert.EqualValues(t, len(content), moved, "what is told is what a person has")
		if name == "words" {
			assert.Less(t, a.written, len(words)/20)
		} else {
			assert.Equal(t, len(content), a.written, name)
		}
	}
	a.written = 0
	require.NoError(t, job.Upload(t.Context(), here, filepath.Join(a.home, "tree")))
	same(t, filepath.Join(a.home, "tree", "words"), words, 0o640)
	same(t, filepath.Join(a.home, "tree", "noise"), noise, 0o640)
	assert.Less(t, a.written, len(words)/2)
	left, err := filepath.Glob(filepath.Join(a.home, ".vmctl-*"))
	require.NoError(t, err)
	assert.Empty(t, left)
}

func TestCopies(t *testing.T) {
	binary := bytes.Repeat([]byte{0, 1, 0xff, '\n'}, 100<<10)
	a := newLocalAgent(t)
	here, there := t.TempDir(), a.home
	job := &guest.Copy{Runner: a.agent(), Machine: "example", Recursive: true}
	file := filepath.Join(here, "a b")
	require.NoError(t, os.WriteFile(file, binary, 0o751))

	require.NoError(t, job.Upload(t.Context(), file, ""))
	same(t, filepath.Join(there, "a b"), binary, 0o751)
	require.NoError(t, job.Download(t.Context(), "~/a b", filepath.Join(here, "back")))
	same(t, filepath.Join(here, "back"), binary, 0o751)

	tree := filepath.Join(here, "tree")
	require.NoError(t, os.MkdirAll(filepath.Join(tree, "sub"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(tree, "sub", "f"), binary, 0o640))
	require.NoError(t, os.Symlink("nowhere", filepath.Join(tree, "link")))
	for range 2 { // the second time into what is there
		require.NoError(t, job.Upload(t.Context(), tree, there))
		require.NoError(t, job.Download(t.Context(), there+"/tree", filepath.Join(here, "copy")+map[bool]string{true: "/", false: ""}[false]))
		require.NoError(t, os.RemoveAll(filepath.Join(here, "copy", "tree")))
	}
	same(t, filepath.Join(here, "copy", "sub", "f"), binary, 0o640)
	target, err := os.Readlink(filepath.Join(here, "copy", "link"))
	require.NoError(t, err)
	assert.Equal(t, "nowhere", target)

	for _, dir := range []string{here, there} {
		left, err := filepath.Glob(filepath.Join(dir, ".vmctl-*"))
		require.NoError(t, err)
		assert.Empty(t, left, "no half copy stays")
	}
}

func same(t *testing.T, path string, content []byte, mode os.FileMode) {
	t.Helper()
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(content, got), "%s is the same", path)
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, mode, info.Mode().Perm())
}

func TestCopiesThatAreRefused(t *testing.T) {
	a := newLocalAgent(t)
	here := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(here, "f"), []byte("x"), 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(a.home, "dir"), 0o755))
	require.NoError(t, syscall.Mkfifo(filepath.Join(a.home, "pipe"), 0o600))
	job := &guest.Copy{Runner: a.agent(), Machine: "example"}
	for name, tt := range map[string]struct {
		do   func() error
		kind fault.Kind
	}{
		"a directory up":             {func() error { return job.Upload(t.Context(), here, "x") }, fault.Usage},
		"a directory down":           {func() error { return job.Download(t.Context(), "dir", here) }, fault.Usage},
		"nothing there":              {func() error { return job.Download(t.Context(), "nope", here) }, fault.NotFound},
		"nothing here":               {func() error { return job.Upload(t.Context(), filepath.Join(here, "nope"), "x") }, fault.NotFound},
		"no directory there":         {func() error { return job.Upload(t.Context(), filepath.Join(here, "f"), "nope/x") }, fault.NotFound},
		"a directory that is not":    {func() error { return job.Upload(t.Context(), filepath.Join(here, "f"), "nope/") }, fault.NotFound},
		"over what is no file there": {func() error { return job.Upload(t.Context(), filepath.Join(here, "f"), "pipe") }, fault.Other},
		"what is no file there":      {func() error { return job.Download(t.Context(), "pipe", here) }, fault.Other},
		"over what is no file here":  {func() error { return job.Download(t.Context(), "/etc/passwd", "/dev/null") }, fault.Refused},
	} {
		t.Run(name, func(t *testing.T) {
			err := tt.do()
			require.Error(t, err)
			assert.Equal(t, tt.kind, fault.KindOf(err), "%v", err)
		})
	}
}

func TestAnInterruptedCopyLeavesNothing(t *testing.T) {
	a := newLocalAgent(t)
	here := t.TempDir()
	file := filepath.Join(here, "f")
	require.NoError(t, os.WriteFile(file, make([]byte, 1<<20), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(a.home, "f"), []byte("old"), 0o600))
	for name, do := range map[string]func(context.Context, *guest.Copy) error{
		"up":   func(ctx context.Context, c *guest.Copy) error { return c.Upload(ctx, file, "f") },
		"down": func(ctx context.Context, c *guest.Copy) error { return c.Download(ctx, "f", file) },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			job := &guest.Copy{Runner: a.agent(), Machine: "example", Moved: func(int64, int64) { cancel() }}
			require.Error(t, do(ctx, job))
			for _, dir := range []string{here, a.home} {
				left, err := os.ReadDir(dir)
				require.NoError(t, err)
				assert.Len(t, left, 1)
			}
		})
	}
	old, err := os.ReadFile(filepath.Join(a.home, "f"))
	require.NoError(t, err)
	assert.Equal(t, "old", string(old))
}
