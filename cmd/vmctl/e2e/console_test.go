//go:build e2e

package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestConsole is one guest's console under everything that people do to it.
func TestConsole(t *testing.T) {
	p := root(t)
	before := p.look(t)
	pr := p.project(t)
	c := &consoles{t: t, pr: pr}

	// From the first instruction on: what the terminal shows is what the log has.
	w := c.vmctl("up", "--console", "tiny")
	w.expect(`connected to tiny; leave with Ctrl-\]`)
	w.expect(`SYSLINUX`)
	w.expect(`tiny login: $`)
	_, shown, _ := strings.Cut(w.seen(), "Ctrl-]")
	assert.Equal(t, printed(pr.ok(t, "logs", "tiny").out), printed(shown))
	c.leave(w)
	assert.Contains(t, w.seen(), "vmctl console tiny", "up says how to come back")

	t.Run("replay", c.replay)
	t.Run("paste", c.paste)
	t.Run("viewers", c.viewers)
	t.Run("pipe", c.pipe)
	t.Run("SIGTERM", c.terminated)
	t.Run("connection lost", c.connectionLost)
	t.Run("machine stops", c.stops)

	pr.ok(t, "down", "tiny")
	p.nothingLeft(t, before)
}

type consoles struct {
	t  *testing.T
	pr *project
}

// vmctl starts vmctl alone in a terminal.
func (c *consoles) vmctl(args ...string) *terminal {
	c.t.Helper()
	cmd := c.pr.p.command(c.t, c.pr.dir, "vmctl", args...)
	cmd.Env = append(cmd.Env, "TERM=xterm-256color")
	return inTerminal(c.t, cmd)
}

// attach opens the console and waits until the present end of it is shown.
func (c *consoles) attach(args ...string) *terminal {
	c.t.Helper()
	w := c.vmctl(append([]string{"console", "tiny"}, args...)...)
	w.expect(`connected to tiny`)
	return w
}

func (c *consoles) leave(w *terminal) {
	c.t.Helper()
	raw := w.settings()
	assert.Zero(c.t, raw.Lflag&syscall.ICANON, "the terminal is raw while the console is shown")
	w.send(bracket)
	w.expect(`left tiny`)
	require.Zero(c.t, w.end())
	c.cooked(w)
}

// cooked says that a terminal is as it was when its program started.
func (c *consoles) cooked(w *terminal) {
	c.t.Helper()
	mode := w.settings()
	assert.Equal(c.t, uint32(syscall.ICANON|syscall.ECHO|syscall.ISIG), mode.Lflag&(syscall.ICANON|syscall.ECHO|syscall.ISIG), "the terminal is restored")
	assert.NotZero(c.t, mode.Iflag&syscall.ICRNL)
	assert.NotZero(c.t, mode.Oflag&syscall.OPOST)
}

// printed is text without what terminals and logs do to line ends.
func printed(text string) string {
	var lines []string
	for line := range strings.SplitSeq(strings.ReplaceAll(text, "\r", "\n"), "\n") {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

// replay attaches in the middle of a long output: every line is there once.
func (c *consoles) replay(t *testing.T) {
	c = &consoles{t, c.pr}
	w := c.attach()
	w.login()
	assert.Equal(t, 1, strings.Count(w.seen(), "SYSLINUX"), "what was printed before is shown once")
	assert.Equal(t, "grüße €", w.guest(`printf 'gr\303\274\303\237e \342\202\254\n'`))
	assert.Equal(t, "žluťoučký kůň", w.guest(`echo 'žluťoučký kůň'`))
	const lines = 3000
	w.send(fmt.Sprintf("i=0; while [ $i -lt %d ]; do echo n$i.; i=$((i+1)); done; echo all\" \"of it\n", lines))
	w.expect(`n100\.`)
	c.leave(w)
	again := c.attach()
	again.expect(`all of it`)
	again.expect(guestPrompt)
	seen := again.seen()
	var next int
	for _, m := range regexp.MustCompile(`n(\d+)\.`).FindAllStringSubmatch(seen, -1) {
		require.Equal(t, fmt.Sprint(next), m[1], "every line once, in order")
		next++
	}
	assert.Equal(t, lines, next)
	c.leave(again)
}

// paste sends 64 KiB of every byte there is but the one that leaves.
func (c *consoles) paste(t *testing.T) {
	c = &consoles{t, c.pr}
	random := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, 64<<10)
	for i := range data {
		data[i] = byte(random.Uint32())
		if data[i] == bracket[0] {
			data[i] = 'x'
		}
	}
	w := c.attach()
	w.expect(guestPrompt)
	w.send("stty raw -echo; echo go\" \"on; head -c 65536 | sha256sum; stty sane\n")
	w.expect(`go on`)
	w.send(string(data))
	sum := sha256.Sum256(data)
	assert.Equal(t, hex.EncodeToString(sum[:]), w.expect(`([0-9a-f]{64})  -`)[1], "the paste arrived whole")
	w.send("\n")
	w.expect(guestPrompt)
	c.leave(w)
}

// viewers are two people who want the same console.
func (c *consoles) viewers(t *testing.T) {
	c = &consoles{t, c.pr}
	first := c.attach()
	first.expect(guestPrompt)
	c.pr.refused(t, 5, []string{"console", "tiny"}, "somebody else is attached", "hint:", "--force")
	second := c.attach("--force")
	second.expect(guestPrompt)
	first.expect(`somebody else took over`)
	assert.Equal(t, 5, first.end())
	c.cooked(first)
	assert.Equal(t, "mine", second.guest("echo mi\"\"ne"))
	c.leave(second)
}

func (c *consoles) pipe(t *testing.T) {
	cmd := c.pr.p.command(t, c.pr.dir, "vmctl", "console", "tiny")
	cmd.Stdin = strings.NewReader("echo from\" \"a pipe\n")
	r := c.pr.p.finish(t, cmd)
	assert.Zero(t, r.code, r.err)
	assert.Contains(t, r.out, "from a pipe")
	assert.NotContains(t, r.out, "\x1b", "a pipe gets no control sequences")
}

func (c *consoles) terminated(t *testing.T) {
	c = &consoles{t, c.pr}
	w := c.attach()
	w.expect(guestPrompt)
	require.NoError(t, w.cmd.Process.Signal(syscall.SIGTERM))
	assert.Equal(t, 130, w.end())
	c.cooked(w)
	again := c.attach()
	again.expect(guestPrompt)
	c.leave(again)
}

// connectionLost kills libvirtd under an open console. The guest does not notice.
func (c *consoles) connectionLost(t *testing.T) {
	c = &consoles{t, c.pr}
	before := qemus(t)
	w := c.attach()
	w.expect(guestPrompt)
	killLibvirtd(t)
	w.expect(`connection to \S+ was lost`)
	assert.Equal(t, 6, w.end())
	c.cooked(w)
	startLibvirtd(t)
	assert.Contains(t, c.pr.ok(t, "up", "tiny").err, "tiny is up to date")
	assert.Equal(t, before, qemus(t), "the guest ran on")
	again := c.attach()
	again.send("\n")
	again.expect(guestPrompt)
	c.leave(again)
}

func (c *consoles) stops(t *testing.T) {
	c = &consoles{t, c.pr}
	w := c.attach()
	w.expect(guestPrompt)
	w.send("su -c poweroff\n")
	w.expect(`tiny has stopped`)
	assert.Zero(t, w.end())
	c.cooked(w)
	// The console ends a moment before libvirt has put the guest away.
	eventually(t, func() bool { return c.pr.p.virsh(t, "domstate", "tiny") == "shut off" })
	c.pr.refused(t, 5, []string{"console", "tiny"}, "tiny is shut off", "vmctl start --console tiny")
	assert.True(t, bytes.Contains([]byte(c.pr.ok(t, "logs", "tiny").out), []byte("from a pipe")), "the log outlives the guest")
}

// TestFirmwareOutput sees UEFI's very first words, on a session connection.
func TestFirmwareOutput(t *testing.T) {
	p := tester(t)
	before := p.look(t)
	pr := p.project(t)
	pr.machine(t, "early", "firmware: efi", "image: images/tiny#tiny")
	c := &consoles{t, pr}
	w := c.vmctl("up", "--console", "early")
	w.expect(`connected to early`)
	w.expect(`BdsDxe: loading Boot`)
	w.send(bracket)
	w.expect(`left early`)
	require.Zero(t, w.end())
	c.cooked(w)
	pr.ok(t, "down", "--force", "early")
	p.nothingLeft(t, before)
}
