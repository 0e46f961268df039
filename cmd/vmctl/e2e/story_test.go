//go:build e2e

package e2e

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestStory is what the program is for, with each firmware and each kind of user. The other two
// pairs boot elsewhere: tester's BIOS in TestHalt, root's UEFI in TestStoppedAnywhere.
func TestStory(t *testing.T) {
	t.Run("bios/root", func(t *testing.T) { story(t, root(t), "bios") })
	t.Run("efi/tester", func(t *testing.T) { story(t, tester(t), "efi") })
}

func story(t *testing.T, p *person, firmware string) {
	before := p.look(t)
	pr := p.project(t)
	if firmware == "efi" {
		pr.edit(t, "tiny", "cpus: 1", "cpus: 1\nfirmware: efi")
	}
	s := p.shell(t, pr.dir)
	image := lastLine(s.ok("vmctl build tiny"))
	untouched := fingerprint(t, image)

	shown := s.ok("vmctl up tiny")
	assert.Contains(t, shown, "tiny is ready after")
	assert.Contains(t, shown, "ssh -p 2222 tarn@127.0.0.1")
	s.look(t, p, image)

	settings := s.ok("stty -a")
	s.console(func() { s.guest("echo kept >note && sync") })
	assert.Equal(t, settings, s.ok("stty -a"), "the terminal is as it was")

	s.ok("vmctl restart tiny")
	s.console(func() { assert.Equal(t, "kept", s.guest("cat note"), "the disk survives a restart") })
	s.grow(t, p, pr)
	if firmware == "bios" { // once is enough: UEFI takes twice as long to boot
		s.change(t, pr)
	}
	assert.Equal(t, untouched, fingerprint(t, image), "the store's file is as it was, while the machine runs")

	assert.Contains(t, s.ok("vmctl down tiny"), "tiny is down: it shut down in")
	assert.Contains(t, s.ok("vmctl down tiny"), "nothing to remove")
	s.leave()
	p.nothingLeft(t, before)
	assert.Equal(t, untouched, fingerprint(t, image), "the store's file is as it was")
}

// grow makes the disk larger while the guest runs.
func (s *shell) grow(t *testing.T, p *person, pr *project) {
	t.Helper()
	pr.edit(t, "tiny", "disk: 1GiB", "disk: 2GiB")
	plan, code := s.run("vmctl plan tiny")
	assert.Equal(t, 2, code, "there is something to do")
	assert.Contains(t, plan, "resize disk")
	assert.Contains(t, plan, "disk 1GiB → 2GiB")
	s.ok("vmctl up tiny")
	_, code = s.run("vmctl plan tiny")
	assert.Zero(t, code, "it grew while it ran")
	p.nixStarts(t)
	assert.Contains(t, s.ok("vmctl up tiny"), "tiny is up to date")
	assert.Zero(t, p.nixStarts(t), "an up with nothing to do starts no nix")
}

// change changes what waits for the next boot.
func (s *shell) change(t *testing.T, pr *project) {
	t.Helper()
	pr.edit(t, "tiny", "memory: 256MiB", "memory: 288MiB")
	pr.edit(t, "tiny", "cpus: 1", "cpus: 2")
	plan, code := s.run("vmctl plan tiny")
	assert.Equal(t, 2, code)
	assert.Contains(t, plan, "memory 256MiB → 288MiB")
	assert.Contains(t, plan, "cpus 1 → 2")
	assert.Contains(t, plan, "next boot")
	// QEMU 7.2 crashes now and then when it emulates two.
	pr.edit(t, "tiny", "cpus: 2", "cpus: 1")
	shown := s.ok("vmctl up tiny")
	assert.Contains(t, shown, "waits for the next boot: memory 256MiB → 288MiB")
	assert.Contains(t, shown, "vmctl up --restart tiny")
	shown, code = s.run("vmctl plan tiny")
	assert.Zero(t, code, "what waits for the next boot is nothing to do: %s", shown)
	assert.Contains(t, shown, "waits for the next boot: memory 256MiB → 288MiB")

	s.ok("vmctl up --restart tiny")
	s.console(func() {
		assert.Equal(t, "kept", s.guest("cat note"))
		kib, err := strconv.Atoi(s.guest("awk '/^MemTotal/ {print $2}' /proc/meminfo"))
		require.NoError(t, err)
		assert.Greater(t, kib, 256<<10-40<<10, "the guest has the memory that it waited for")
		mib, err := strconv.Atoi(s.guest("df -m / | awk 'NR==2 {print $2}'"))
		require.NoError(t, err)
		assert.Greater(t, mib, 1500, "the file system has grown with the disk")
		assert.Less(t, mib, 2048)
	})
}

// look asks for what there is to know about a running machine.
func (s *shell) look(t *testing.T, p *person, image string) {
	t.Helper()
	assert.Regexp(t, `(?m)^tiny +running +1 +256MiB +2222→22 +images/tiny`, s.ok("vmctl list"))
	info := s.ok("vmctl info tiny")
	for _, word := range []string{"running", image, "256MiB", "1GiB", "vmctl console tiny", "ssh -p 2222 tarn@127.0.0.1"} {
		assert.Contains(t, unwrap(info), word)
	}
	var parsed struct {
		State, Host, Base string
		Disk              struct{ Path string }
	}
	require.NoError(t, json.Unmarshal([]byte(p.ok(t, "/", "info", "-o", "json", "tiny").out), &parsed))
	assert.Equal(t, "running", parsed.State)
	assert.Equal(t, p.uri, parsed.Host)
	assert.Equal(t, image, parsed.Base)
	assert.Equal(t, p.volume("tiny"), parsed.Disk.Path)
	shown, code := s.run("vmctl ip tiny")
	assert.Equal(t, 4, code, "user networking gives no address")
	assert.Contains(t, shown, "ssh -p 2222 tarn@127.0.0.1")
	// The guest may say that it is ready before it asks for a login.
	eventually(t, func() bool { return strings.Contains(s.ok("vmctl logs tiny"), "tiny login:") })
	assert.Contains(t, s.ok("vmctl logs tiny"), "tiny, a small Linux built by nix")
	assert.Contains(t, s.ok("vmctl logs -n 2 tiny"), "tiny login:")
}

// console is a visit to the machine's console: log in as tarn, do something, leave.
func (s *shell) console(visit func()) {
	s.t.Helper()
	s.visit("tiny", visit)
}

// visit is console for a machine of another name.
func (s *shell) visit(name string, visit func()) {
	s.t.Helper()
	s.send("vmctl console " + name + "\n")
	s.expect(`connected to ` + name + `; leave with Ctrl-\]`)
	s.login()
	visit()
	s.send("exit\n")
	s.expect(`login: $`)
	s.send(bracket)
	s.expect(`left ` + name)
	_, code := s.prompt("")
	require.Zero(s.t, code)
}

// guestPrompt ends what the guest's shell shows.
const guestPrompt = `tarn@tiny:~\$ $`

// login logs in where the guest asks for it.
func (w *terminal) login() {
	w.t.Helper()
	w.expect(`tiny login: $`)
	w.send("tarn\n")
	w.expect(guestPrompt)
}

// guest runs a command in the guest's shell and gives what it printed.
func (w *terminal) guest(command string) string {
	w.t.Helper()
	w.send(command + "\n")
	// The guest's line editor shows what is typed, which may be broken into lines.
	shown := w.expect(`(?s)\n(.*)` + guestPrompt)[1]
	return strings.TrimSpace(shown)
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

// unwrap undoes a terminal's line breaks.
func unwrap(text string) string { return regexp.MustCompile(`\n +`).ReplaceAllString(text, "") }
