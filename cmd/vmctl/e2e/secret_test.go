//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// canaries are secrets that are looked for everywhere but where they belong.
var canaries = []string{"canary-file-7c1e9a", "canary-env-5be02d", "canary-command-90aa41", "canary-pushed-3f6d18"}

// watcher reads the command line and the environment of every process, all the time.
type watcher struct {
	stop  chan struct{}
	found chan []string
}

func watchProcesses(own string) *watcher {
	w := &watcher{stop: make(chan struct{}), found: make(chan []string, 1)}
	go func() {
		seen := map[string]bool{}
		again := time.NewTicker(3 * time.Millisecond)
		defer again.Stop()
		for {
			select {
			case <-w.stop:
				var all []string
				for line := range seen {
					all = append(all, line)
				}
				w.found <- all
				return
			case <-again.C:
			}
			paths, _ := filepath.Glob("/proc/[0-9]*")
			for _, dir := range paths {
				exe, _ := os.Readlink(filepath.Join(dir, "exe"))
				for _, file := range []string{"cmdline", "environ"} {
					if file == "environ" && exe == own {
						continue // it was given one there
					}
					content, _ := os.ReadFile(filepath.Join(dir, file))
					for _, c := range canaries {
						if bytes.Contains(content, []byte(c)) {
							seen[fmt.Sprintf("%s has %s in its %s", exe, c, file)] = true
						}
					}
				}
			}
		}
	}()
	return w
}

func (w *watcher) end() []string {
	close(w.stop)
	return <-w.found
}

// secretive is a project with a machine that has secrets.
func (p *person) secretive(t *testing.T) *project {
	t.Helper()
	pr := p.project(t)
	file := filepath.Join(pr.p.home, "db.secret")
	require.NoError(t, os.WriteFile(file, []byte(canaries[0]), 0o600))
	script := filepath.Join(pr.p.home, "say.secret")
	require.NoError(t, os.WriteFile(script, []byte(canaries[2]+"\n"), 0o600))
	t.Cleanup(func() { _ = os.Remove(file); _ = os.Remove(script) })
	pr.machine(t, "keeper", "identity: true", "secrets:",
		"  db.password: {file: ~/db.secret}", "  token: {env: CANARY_TOKEN}", "  said: {command: [cat, "+script+"]}")
	t.Setenv("CANARY_TOKEN", canaries[1])
	return pr
}

// TestSecrets: the guest gets its secrets and its host key, and nobody else does.
func TestSecrets(t *testing.T) {
	p := root(t)
	pr := p.secretive(t)
	began := time.Now()
	require.NoError(t, os.Unsetenv("CANARY_TOKEN")) // of the tests themselves
	own, err := filepath.EvalSymlinks(filepath.Join(p.bin, "vmctl"))
	require.NoError(t, err)
	shown := &strings.Builder{}
	run := func(args ...string) result {
		t.Helper()
		cmd := p.command(t, pr.dir, "vmctl", args...)
		cmd.Env = append(cmd.Env, "CANARY_TOKEN="+canaries[1])
		r := p.finish(t, cmd)
		require.Zero(t, r.code, "vmctl %s\n%s%s", strings.Join(args, " "), r.out, r.err)
		shown.WriteString(r.out + r.err)
		return r
	}
	watching := watchProcesses(own)
	key := run("key", "keeper").out
	cmd := p.command(t, pr.dir, "vmctl", "plan", "-v", "keeper")
	cmd.Env = append(cmd.Env, "CANARY_TOKEN="+canaries[1])
	r := p.finish(t, cmd)
	shown.WriteString(r.out + r.err)
	require.Equal(t, 2, r.code)
	assert.Contains(t, r.out, "hand over secrets keeper (db.password, said, token, host key)")
	run("up", "-v", "keeper")

	for name, want := range map[string]string{"db.password": canaries[0], "token": canaries[1], "said": canaries[2]} {
		assert.Equal(t, want+"|400 0", guestRun(t, p, "keeper", "cat /run/credstore/"+name+"; stat -c '|%a %u' /run/credstore/"+name))
	}
	assert.Equal(t, strings.Fields(key)[1], guestRun(t, p, "keeper", "cut -d' ' -f2 /etc/ssh/ssh_host_ed25519_key.pub"))
	assert.Equal(t, "vda", guestRun(t, p, "keeper", "ls /sys/block | grep ^vd"), "the disk was given back")

	require.NoError(t, os.WriteFile(filepath.Join(p.home, "db.secret"), []byte(canaries[3]), 0o600))
	run("secret", "push", "-v", "keeper", "db.password")
	assert.Equal(t, canaries[3], guestRun(t, p, "keeper", "cat /run/credstore/db.password"))
	run("up", "-v", "keeper")
	run("secret", "list", "keeper")
	run("info", "-o", "json", "keeper")
	assert.Empty(t, watching.end())

	shown.WriteString(p.virsh(t, "dumpxml", "keeper") + p.virsh(t, "dumpxml", "--inactive", "keeper"))
	for _, c := range canaries {
		assert.NotContains(t, shown.String(), c)
	}
	assert.NotContains(t, shown.String(), "PRIVATE KEY")
	assert.NotContains(t, shown.String(), "secrets.img'", "no definition names the disk")
	leaks(t, p, began, canaries)

	// What the guest's own disk has of it, nothing else has.
	pr.ok(t, "down", "--force", "keeper")
	leaks(t, p, began, append([]string{"PRIVATE KEY-----"}, canaries...))
}

// leaks holds all files that were written to since a time to not containing any words.
func leaks(t *testing.T, p *person, since time.Time, words []string) {
	t.Helper()
	args := []string{"-rlaF", "--devices=skip"}
	for _, w := range words {
		args = append(args, "-e", w)
	}
	store := ""
	for _, v := range p.nix {
		if dir, ok := strings.CutPrefix(v, "NIX_STORE_DIR="); ok {
			store = dir
		}
	}
	require.NotEmpty(t, store)
	places := []string{p.pool, "/var/lib/libvirt", "/etc/libvirt", "/run/libvirt", "/var/log/libvirt", "/var/cache/libvirt",
		filepath.Join(p.home, ".cache"), filepath.Join(p.home, ".local")}
	entries, err := os.ReadDir(store)
	require.NoError(t, err)
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.ModTime().After(since) {
			places = append(places, filepath.Join(store, e.Name()))
		}
	}
	places = slices.DeleteFunc(places, func(dir string) bool { _, err := os.Stat(dir); return err != nil })
	out, _ := exec.CommandContext(t.Context(), "grep", append(args, places...)...).Output() // 1 is nothing found
	assert.Empty(t, string(out))
}

// guestRun runs a command in the guest, by its agent, and gives what it prints.
func guestRun(t *testing.T, p *person, machine, command string) string {
	t.Helper()
	ask := func(request string) json.RawMessage {
		var answer struct{ Return json.RawMessage }
		require.NoError(t, json.Unmarshal([]byte(p.virsh(t, "qemu-agent-command", machine, request)), &answer))
		return answer.Return
	}
	eventually(t, func() bool { // a guest that boots has no agent yet
		return p.command(t, "/", "virsh", "-c", p.uri, "qemu-agent-command", machine, `{"execute":"guest-ping"}`).Run() == nil
	})
	request, err := json.Marshal(map[string]any{"execute": "guest-exec", "arguments": map[string]any{
		"path": "/bin/sh", "arg": []string{"-c", command}, "capture-output": true,
	}})
	require.NoError(t, err)
	var started struct{ PID int }
	require.NoError(t, json.Unmarshal(ask(string(request)), &started))
	var status struct {
		Exited  bool
		OutData []byte `json:"out-data"`
	}
	for range 4 { // a busy machine takes its time
		eventually(t, func() bool {
			if !status.Exited {
				answer := ask(fmt.Sprintf(`{"execute":"guest-exec-status","arguments":{"pid":%d}}`, started.PID))
				require.NoError(t, json.Unmarshal(answer, &status))
			}
			return status.Exited
		})
	}
	require.True(t, status.Exited, "%s goes on and on", command)
	return strings.TrimSpace(strings.ReplaceAll(string(status.OutData), "\n", ""))
}

// TestSecretsKilled ends an up with secrets by SIGKILL at each thing that it says it does
// with them:
// after the next down, or up, nothing of them is on the host.
func TestSecretsKilled(t *testing.T) {
	p := root(t)
	pr := p.secretive(t)
	pr.image(t, "keeper")
	pr.ok(t, "down", "--force", "keeper")
	began := time.Now()
	before := p.look(t)
	for k := 1; ; k++ {
		handed := false
		n, done := 0, false
		r := pr.watched(t, []string{"up", "--no-wait", "keeper"}, func(e event, vmctl *os.Process) {
			if n > 0 || strings.Contains(e.ID, "secrets.img") {
				n++
			}
			handed = handed || strings.HasPrefix(e.ID, "keeper/hand over")
			if n == k || handed {
				done = true
				_ = vmctl.Kill() // it may have ended by itself
			}
		})
		require.True(t, done, "%s", r.err)
		if handed {
			// The guest is booting: the next up sees it through.
			pr.ok(t, "up", "keeper")
			assert.Equal(t, canaries[1], guestRun(t, p, "keeper", "cat /run/credstore/token"))
			leaks(t, p, began, canaries)
			assert.Contains(t, pr.ok(t, "up", "keeper").err, "keeper is up to date")
			pr.ok(t, "down", "--force", "keeper")
			return
		}
		pr.ok(t, "down", "--force", "keeper")
		p.settled(t, "keeper")
		pr.ok(t, "down", "--force", "keeper")
		leaks(t, p, began, canaries)
		p.nothingLeft(t, append(before, p.keyFiles()...))
	}
}

// keyFiles are the files of the machines' keys, which outlive the machines.
func (p *person) keyFiles() []string {
	files, _ := filepath.Glob(filepath.Join(p.home, ".local/state/vmctl/keys/*"))
	for i := range files {
		files[i] = "file " + files[i]
	}
	return files
}
