//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/state"
	"vmctl/pkg/testenv"
)

// TestTrust is one guest that does all the harm it can, with secrets, run by a person
// whose umask keeps nothing from anybody: who may read what vmctl writes, what stays
// between the guest and the host, and what of the guest's words reaches a terminal.
func TestTrust(t *testing.T) {
	p := root(t)
	pr := p.project(t)
	pr.image(t, "tiny")
	began := time.Now()
	umask := syscall.Umask(0)
	defer syscall.Umask(umask)

	require.NoError(t, os.WriteFile(filepath.Join(p.home, "db.secret"), []byte(canaries[0]), 0o600))
	defer os.Remove(filepath.Join(p.home, "db.secret"))
	before := p.look(t)
	pr.machine(t, "wild", told, "identity: true", "ready: console /^it is wild$/", "secrets:",
		"  db.password: {file: ~/db.secret}", "  later: {command: [sh, -c, 'test ! -e abort || kill -ABRT $PPID; echo x']}")
	// More than virtlogd keeps in one file, on one line, comes before the sign.
	pr.tell(t,
		`evil() { printf '\033]0;title\007\033]52;c;ZXZpbA==\007\033]8;;http://evil\007link\033]8;;\007\2332J\033P$q\033\\\033[c\033[6n\005\342\200\256\000%s\n' "$1"; }`,
		`evil one >/dev/ttyS0`,
		`head -c 2300000 /dev/zero | tr '\0' x >/dev/ttyS0`,
		`{ echo; evil two; echo it is wild; } >/dev/ttyS0`,
		`printf '#!/bin/sh\nexec 3>$1\nwhile sleep 1; do head -c 100000 /dev/zero | tr "\\0" x >&3; echo >&3\n`+
			`echo "{\"vmctl\":1,\"state\":\"ready\",\"addresses\":[\"127.0.0.1\",\"224.0.0.1\",\"::ffff:127.0.0.1\",\"\\u009b2J\"],\"failed_units\":[\"\\u001b[2J\"]}" >&3; done\n' >/etc/init.d/report`)
	up := pr.ok(t, "up", "-v", "wild")
	assert.Contains(t, up.err, "its console says so")
	tame(t, up.err)
	assert.Contains(t, pr.ok(t, "up", "wild").err, "wild is up to date")

	t.Run("words", func(t *testing.T) { wildWords(t, pr) })
	t.Run("modes", func(t *testing.T) { modes(t, p) })
	t.Run("QEMU", func(t *testing.T) { walls(t, p) })
	t.Run("core", func(t *testing.T) { cores(t, pr) })
	t.Run("agent", func(t *testing.T) { falseAgent(t, pr) })

	pr.ok(t, "down", "--force", "wild")
	leaks(t, p, began, canaries[:1])
	p.nothingLeft(t, append(before, p.keyFiles()...))
}

// tame says that text drives no terminal.
func tame(t *testing.T, text string) {
	t.Helper()
	at := strings.IndexFunc(text, func(r rune) bool {
		return unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Bidi_Control, r)
	})
	if at >= 0 || !utf8.ValidString(text) {
		assert.Fail(t, "a terminal would obey", "%q", text[max(0, at-40):min(len(text), max(at, 0)+40)])
	}
}

// wildWords shows what the guest says in all places where it shows.
func wildWords(t *testing.T, pr *project) {
	for _, args := range [][]string{
		{"logs", "wild"}, {"logs", "-n", "3", "wild"}, {"list"}, {"list", "-o", "json"}, {"info", "wild"}, {"info", "-o", "json", "wild"}, {"ip", "wild"},
		{"up", "--timeout", "1s", "wild"}, {"secret", "list", "wild"}, {"exec", "wild", "false"},
	} {
		r := pr.vmctl(t, args...)
		tame(t, r.out)
		tame(t, r.err)
	}
	assert.Contains(t, pr.ok(t, "logs", "wild").out, "two\n")
	assert.NotContains(t, pr.ok(t, "info", "wild").out, "127.0.0.1")
	guestRun(t, pr.p, "wild", "true") // its agent is there
	// A pipe gets what a program prints as it is, a terminal does not.
	const said = "\x1b]52;c;ZXZpbA==\x07\x1b]0;title\x07said"
	say := []string{"exec", "wild", "printf", `\033]52;c;ZXZpbA==\007\033]0;title\007said`}
	assert.Equal(t, said, pr.piped(t, nil, say...).out)
	for _, args := range [][]string{say, {"logs", "wild"}, {"console", "wild"}} {
		cmd := pr.p.command(t, pr.dir, "vmctl", args...)
		cmd.Env = append(cmd.Env, "TERM=xterm-256color")
		w := inTerminal(t, cmd)
		if args[0] == "console" {
			w.expect(`connected to wild`)
			w.expect(`link`)
			w.send(bracket)
		}
		require.Zero(t, w.end())
		w.mu.Lock()
		raw := string(w.raw)
		w.mu.Unlock()
		for _, sign := range []string{"\x1b]0;", "\x1b]52", "\u009b", "\x1bP", "\x1b[c", "\x1b[6n", "\x05", "\x00"} {
			assert.NotContains(t, raw, sign, "vmctl %s", args[0])
		}
	}
}

// modes are those of all that vmctl wrote for itself, and of what libvirt wrote for it.
func modes(t *testing.T, p *person) {
	seen := 0
	for _, dir := range []string{".local/state/vmctl", ".cache/vmctl", ".config/vmctl"} {
		err := filepath.WalkDir(filepath.Join(p.home, dir), func(path string, d fs.DirEntry, err error) error {
			if os.IsNotExist(err) {
				return nil
			}
			require.NoError(t, err)
			info, err := d.Info()
			require.NoError(t, err)
			if info.Mode()&fs.ModeSymlink != 0 {
				return nil
			}
			seen++
			st, ok := info.Sys().(*syscall.Stat_t)
			require.True(t, ok)
			assert.Equal(t, uint32(os.Getuid()), st.Uid, path)
			assert.True(t, d.IsDir() || info.Mode().IsRegular(), "%s is a %s", path, info.Mode())
			assert.Zero(t, info.Mode().Perm()&0o077, "%s has mode %s", path, info.Mode())
			return nil
		})
		require.NoError(t, err)
	}
	assert.Greater(t, seen, 10)
	entries, err := os.ReadDir(p.pool)
	require.NoError(t, err)
	var machine int
	for _, e := range entries {
		if info, err := e.Info(); err == nil && strings.HasPrefix(e.Name(), "wild.") {
			machine++
			assert.Zero(t, info.Mode().Perm()&0o077, "%s has mode %s", e.Name(), info.Mode())
		}
	}
	assert.GreaterOrEqual(t, machine, 2, "a root disk and a log")
}

// walls are what libvirt puts around QEMU: its user, and the system calls that it may
// make. vmctl takes nothing of it away.
func walls(t *testing.T, p *person) {
	pids := qemus(t)
	require.Len(t, pids, 1)
	content, err := os.ReadFile("/proc/" + pids[0] + "/cmdline")
	require.NoError(t, err)
	argv := strings.Split(string(content), "\x00")
	at := slices.Index(argv, "-sandbox")
	require.GreaterOrEqual(t, at, 0, "QEMU's sandbox is on")
	for _, word := range []string{"on", "obsolete=deny", "elevateprivileges=deny", "spawn=deny", "resourcecontrol=deny"} {
		assert.Contains(t, strings.Split(argv[at+1], ","), word)
	}
	status, err := os.ReadFile("/proc/" + pids[0] + "/status")
	require.NoError(t, err)
	assert.NotRegexp(t, `(?m)^Uid:\t0\t`, string(status), "QEMU has a user of its own")
	assert.Regexp(t, `(?m)^Seccomp:\t2$`, string(status))
	assert.Regexp(t, `(?m)^CapEff:\t0000000000000000$`, string(status))
	xml := p.virsh(t, "dumpxml", "wild")
	assert.NotContains(t, xml, "<seclabel type='none'")
	assert.NotContains(t, xml, "model='none'")
}

// falseAgent puts something else in the agent's place, which never ends what it says:
// every command that asks it ends with a sentence all the same.
func falseAgent(t *testing.T, pr *project) {
	guestRun(t, pr.p, "wild", `port=/dev/$(basename $(dirname $(grep -l guest_agent /sys/class/virtio-ports/*/name))); `+
		`(sleep 1; killall qemu-ga; sleep 1; exec 3<>$port; while :; do head -c 12000000 /dev/zero | tr "\\0" "{" >&3; done) >/dev/null 2>&1 &`)
	eventually(t, func() bool {
		return pr.p.command(t, "/", "virsh", "-c", pr.p.uri, "qemu-agent-command", "--timeout", "1", "wild", `{"execute":"guest-ping"}`).Run() != nil
	})
	for _, args := range [][]string{{"exec", "wild", "true"}, {"cp", "domain/wild.yaml", "wild:/tmp/"}} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		r := pr.p.finish(t, pr.p.commandIn(ctx, pr.dir, "vmctl", args...))
		require.NoError(t, ctx.Err(), "vmctl %s ends", args[0])
		cancel()
		assert.Equal(t, 5, r.code, "%s", r.err)
		tame(t, r.err)
	}
	for _, args := range [][]string{{"list"}, {"info", "wild"}, {"up", "wild"}} {
		r := pr.ok(t, args...)
		tame(t, r.out+r.err)
	}
}

// cores kills vmctl as a crash would: while there are secrets in its memory, and, for
// comparison, while there are none.
func cores(t *testing.T, pr *project) {
	crash := func(line string) (result, bool) {
		t.Helper()
		cmd := pr.p.command(t, pr.dir, "sh", "-c", "ulimit -c unlimited; exec "+filepath.Join(pr.p.bin, "vmctl")+" "+line)
		cmd.Env = append(cmd.Env, "GOTRACEBACK=crash")
		if !strings.HasPrefix(line, "secret") {
			stop := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
			defer stop.Stop()
			out := &crasher{cmd: cmd}
			cmd.Stdout = out
			_ = cmd.Run() // how it ended is what is looked at
		} else {
			r := pr.p.finish(t, cmd)
			status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
			require.True(t, ok)
			require.True(t, status.Signaled(), "%s%s", r.out, r.err)
			return r, status.CoreDump()
		}
		status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
		require.True(t, ok)
		return result{}, status.CoreDump()
	}
	dumps := func() []string {
		found, err := filepath.Glob(filepath.Join(pr.dir, "core*"))
		require.NoError(t, err)
		return found
	}
	_, dumped := crash("logs -f wild")
	require.True(t, dumped, "without secrets the kernel writes a core dump, so that the rest of this test means something")
	for _, file := range dumps() {
		require.NoError(t, os.Remove(file))
	}
	require.NoError(t, os.WriteFile(filepath.Join(pr.dir, "abort"), nil, 0o600))
	r, dumped := crash("secret push wild")
	assert.False(t, dumped, "with secrets in memory there is none")
	assert.Empty(t, dumps())
	assert.NotContains(t, r.out+r.err, canaries[0])
	require.NoError(t, os.Remove(filepath.Join(pr.dir, "abort")))
}

// crasher aborts the program when it has printed something.
type crasher struct {
	cmd  *exec.Cmd
	once sync.Once
}

func (c *crasher) Write(p []byte) (int, error) {
	c.once.Do(func() { _ = c.cmd.Process.Signal(syscall.SIGABRT) })
	return len(p), nil
}

// TestOthersOnThisMachine lets another user of the client at everything that vmctl uses
// and that they can reach: nothing of vmctl's goes where they want it.
func TestOthersOnThisMachine(t *testing.T) {
	p := root(t)
	shared := testenv.Dir(t, "")
	require.NoError(t, os.Chmod(shared, 0o777|os.ModeSticky))
	victim := testenv.Dir(t, "")
	as := func(script string) {
		t.Helper()
		out, err := testenv.AsTester(exec.CommandContext(t.Context(), "sh", "-c", script)).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	as(fmt.Sprintf("cd %s && mkdir -m 777 theirs theirs/vmctl && ln -s %s link && ln -s /run/root/none dangling", shared, victim))
	for dir, why := range map[string]string{
		"theirs":   "theirs belongs to user 61000",
		"link":     "link belongs to user 61000",
		"dangling": "dangling belongs to user 61000",
	} {
		for _, variable := range []string{"XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"} {
			for _, args := range [][]string{{"host", "add", "x", "qemu:///system"}, {"key", "--operator"}, {"host", "list"}} {
				cmd := p.command(t, "/", "vmctl", args...)
				cmd.Env = append(cmd.Env, variable+"="+filepath.Join(shared, dir))
				r := p.finish(t, cmd)
				assert.Equal(t, 5, r.code, "vmctl %s\n%s", strings.Join(args, " "), r.err)
				assert.Contains(t, r.err, why)
			}
		}
	}
	left, err := os.ReadDir(victim)
	require.NoError(t, err)
	assert.Empty(t, left)
	// Nor does a project of theirs that lies above decide what a command is about.
	as(fmt.Sprintf("cd %s && mkdir -p -m 777 project/domain && echo 'image: images/x' >project/domain/trap.yaml", shared))
	deep := filepath.Join(shared, "project", "deep")
	require.NoError(t, os.Mkdir(deep, 0o755))
	r := p.finish(t, p.command(t, deep, "vmctl", "validate", "trap"))
	assert.Equal(t, 4, r.code, "%s", r.out)
	assert.Contains(t, r.err, filepath.Dir(deep)+" is another user's")
	assert.Zero(t, p.finish(t, p.command(t, deep, "vmctl", "-C", filepath.Dir(deep), "validate", "trap")).code)
	// A person is not led astray by what su left in their environment.
	cmd := p.command(t, "/", "vmctl", "host", "list")
	cmd.Env = append(cmd.Env, "XDG_RUNTIME_DIR=/run/user/61000")
	assert.Zero(t, p.finish(t, cmd).code)

	// A tester's own root-owned parents are fine, root's directories are not theirs.
	other := tester(t)
	assert.Zero(t, other.try(t, "/", "host", "list").code)

	races(t, shared, victim)
}

// races makes directories beside somebody who makes the same, as links to where they
// want the files to be.
func races(t *testing.T, shared, victim string) {
	t.Helper()
	const rounds = 200
	// In every other round they do not wait for us to begin.
	script := fmt.Sprintf(`cd %s; i=0; while [ $i -lt %d ]; do
	: >at.$i
	while [ $((i %% 2)) = 0 ] && [ ! -e go.$i ]; do :; done
	until [ -e done.$i ]; do ln -s %s r.$i || mkdir -m 777 r.$i; done 2>/dev/null
	i=$((i + 1)); done`, shared, rounds, victim)
	attacker := testenv.AsTester(exec.CommandContext(t.Context(), "sh", "-c", script))
	require.NoError(t, attacker.Start())
	defer func() { _ = attacker.Process.Kill(); _ = attacker.Wait() }()
	deadline := time.Now().Add(patience)
	for i := range rounds {
		for there := false; !there; {
			_, err := os.Lstat(filepath.Join(shared, fmt.Sprintf("at.%d", i)))
			require.True(t, time.Now().Before(deadline), "they take part")
			there = err == nil
		}
		require.NoError(t, os.WriteFile(filepath.Join(shared, fmt.Sprintf("go.%d", i)), nil, 0o644))
		home := filepath.Join(shared, fmt.Sprintf("r.%d", i))
		dirs := state.Dirs{Cache: victim, State: filepath.Join(home, "vmctl")}
		err := dirs.Check()
		require.NoError(t, os.WriteFile(filepath.Join(shared, fmt.Sprintf("done.%d", i)), nil, 0o644))
		if err != nil {
			assert.ErrorContains(t, err, "belongs to user 61000")
			continue
		}
		require.NoError(t, dirs.Images().Write("x", []byte("ours")))
		info, err := os.Lstat(home)
		require.NoError(t, err)
		st, ok := info.Sys().(*syscall.Stat_t)
		require.True(t, ok)
		require.True(t, info.IsDir() && int(st.Uid) == os.Geteuid(), "what was checked is what was written to")
	}
	left, err := os.ReadDir(victim)
	require.NoError(t, err)
	assert.Empty(t, left)
}
